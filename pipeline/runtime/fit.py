"""Whether a plan loads on a machine, told from the manifest alone, and which plan of a bundle does."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.bundle.manifest import Manifest, Plan
from pipeline.core.errors import BackendUnavailable, BundleError
from pipeline.runtime.machine import Machine


def problems(plan: Plan, machine: Machine) -> tuple[str, ...]:
    """Each reason why `plan` does not load on `machine`, one line; empty where it does."""
    return (*_of_library(plan, machine), *_of_gpu(plan, machine))


def choose(manifest: Manifest, machine: Machine, *, wanted: str | None, where: str) -> Plan:
    """The plan of a bundle that loads on `machine`: the first, or the one that was asked for by path.

    Raises:
        BundleError: The bundle has no plan named `wanted`.
        BackendUnavailable: None fits, or the wanted one does not; the error says what is wrong with each.
    """
    if wanted is not None and wanted not in {plan.path for plan in manifest.plans}:
        known = ", ".join(plan.path for plan in manifest.plans)
        raise BundleError(f"no plan named {wanted}", where=where, hint=f"plans of this bundle: {known}")
    found = {plan.path: problems(plan, machine) for plan in manifest.plans}
    fitting = [plan for plan in manifest.plans if not found[plan.path]]
    asked = [plan for plan in fitting if wanted in (None, plan.path)]
    if asked:
        return asked[0]
    shown = manifest.plans if wanted is None else [plan for plan in manifest.plans if plan.path == wanted]
    listing = "".join(f"\n    {plan.path}: {line}" for plan in shown for line in found[plan.path])
    what = "no plan of this bundle fits this machine" if wanted is None else "this plan does not fit this machine"
    raise BackendUnavailable(f"{what}{listing}", where=where, hint=_hint(manifest, machine, fitting))


def _of_library(plan: Plan, machine: Machine) -> Iterator[str]:
    library = machine.libraries.get(plan.flavour)
    if library is None:
        yield f"flavour: it needs {plan.flavour} {plan.version}, which is not installed"
    elif library.version != plan.version:
        yield f"version: it needs {plan.flavour} {plan.version} exactly, and {library.version} is installed"


def _of_gpu(plan: Plan, machine: Machine) -> Iterator[str]:
    if machine.gpu is None:
        yield f"GPU: {machine.reason}"
        return
    if machine.gpu.capability not in plan.targets:
        yield (
            f"compute capability: it was built for {', '.join(plan.targets)}, "
            f"and this {machine.gpu.name} has {machine.gpu.capability}"
        )
    library = machine.libraries.get(plan.flavour)
    needed = library.cuda if library is not None else None
    if needed is not None and not _major(machine.cuda) >= needed:
        yield f"driver: {plan.flavour} here needs CUDA {needed}, and this driver supports CUDA {machine.cuda}"


def _major(version: str | None) -> int:
    head = (version or "").partition(".")[0]
    return int(head) if head.isdigit() else 0


def _hint(manifest: Manifest, machine: Machine, fitting: list[Plan]) -> str:
    if fitting:
        return f"{fitting[0].path} of this bundle fits"
    if machine.gpu is None:
        return "on a machine without a GPU, the backend `emulated` runs the bundle's emulation (it is not the engine)"
    for plan in manifest.plans:
        if machine.gpu.capability in plan.targets:
            return f"{plan.path} fits this GPU: pip install '{plan.flavour}=={plan.version}'"
    return f"`trt-pipeline rebuild` makes a plan for compute capability {machine.gpu.capability} from this bundle"
