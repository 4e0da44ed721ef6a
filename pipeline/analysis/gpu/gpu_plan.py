"""The plan that this machine's GPU can run, loaded; or why there is none."""

from __future__ import annotations

from pipeline.backends.tensorrt.engine import Engine
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.core import device
from pipeline.core.artifacts import EnginePlan, EnginePlans
from pipeline.core.device import Gpu
from pipeline.core.errors import BackendUnavailable


def find(plans: EnginePlans) -> tuple[EnginePlan, Gpu] | str:
    """The plan for the GPU at hand and the GPU, or in words why there is none."""
    devices = device.probe()
    if not devices.gpus:
        return str(devices.reason)
    gpu = devices.gpus[0]
    plan = next((plan for plan in plans.plans if gpu.capability in plan.targets), None)
    if plan is None:
        built = ", ".join(target for plan in plans.plans for target in plan.targets)
        return f"this GPU has compute capability {gpu.capability}, plans were built for {built}"
    return plan, gpu


def load(plans: EnginePlans) -> Engine:
    """That plan, to be used in a `with` statement.

    Raises:
        BackendUnavailable: There is no GPU, or no plan for it.
    """
    found = find(plans)
    if isinstance(found, str):
        raise BackendUnavailable(
            found, where="engine", hint="compare `emulated` instead, or build with --target on the machine with the GPU"
        )
    return loaded(found[0])


def loaded(plan: EnginePlan) -> Engine:
    """A plan, checked against its recorded digest before it is deserialised."""
    return Engine(plan.path, sha256=plan.digest, flavour=Flavour(plan.flavour))
