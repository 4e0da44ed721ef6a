"""`rebuild`: build a plan from a bundle's mixed graph, hold it to the bundle's precision plan, and add it."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.bundle import archive, content, describe, opening, verify
from pipeline.bundle.layouts import plain
from pipeline.bundle.manifest import Manifest
from pipeline.bundle.opening import Opened
from pipeline.core import device, serde
from pipeline.core.artifacts import EnginePlans, FusionBaseline, OnnxModel, PrecisionPlan
from pipeline.core.errors import BackendUnavailable, BundleError, SpecError
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, BuildSpec, InputSpec
from pipeline.rebuild import evidence, record
from pipeline.rebuild.evidence import Finding

GPU = "gpu"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What a rebuild added.

    Attributes:
        bundle: The bundle that now holds the plans.
        plans: Paths of the new plans in it.
        findings: What each was held to, and what came of it.
        core: Digest of the core, which is another one now.
        signed_by: Key id that it was signed anew with; None where it was not: no signature of before can hold.
    """

    bundle: Path
    plans: tuple[str, ...]
    findings: tuple[Finding, ...]
    core: str
    signed_by: str | None


def rebuild(
    bundle: Path,
    *,
    targets: tuple[str, ...] = (GPU,),
    key: Path | None = None,
    out: Path | None = None,
    timing_cache: Path | None = None,
    sign: Path | None = None,
    progress: Progress,
) -> Rebuilt:
    """Add plans to a bundle.

    Args:
        bundle: Its folder, or its `.tar.zst`.
        targets: Compute capabilities for TensorRT-RTX, which needs no GPU; `gpu` for TensorRT and the GPU at hand.
        key: Public key that must have signed the bundle.
        out: Where the result goes; by default it takes the bundle's place.
        timing_cache: File that TensorRT's tactic timings are kept in from one rebuild to the next.
        sign: Private key to sign the result with.
        progress: Told of every phase.

    Raises:
        BackendUnavailable: A target needs a GPU or a library that is not here.
        BuildError: TensorRT refuses the graph for a target.
        BundleError: The bundle is damaged, or a new plan does not deliver the planned precision; it is left as it was.
    """
    target = out or bundle
    if out is not None and out.exists():
        raise BundleError("something is there already", where=str(out), hint="name one that does not exist")
    _require_device(bundle, targets)
    with opening.opened(bundle, key=key) as verified, _beside(target) as work:
        folder = work / "bundle"
        folder.mkdir()
        plain.write(verified, folder)
        built = _build(verified, folder, targets, work, timing_cache, progress)
        findings = evidence.of_build(built.plans)
        _require(findings, bundle)
        manifest = record.add(folder, verified.manifest, built.plans)
        grown = dataclasses.replace(verified, folder=folder, manifest=manifest)
        findings += evidence.of_runs(grown, built.plans, progress)
        _require(findings, bundle)
        manifest = record.seal(folder, verified, manifest, findings, sign)
        proof = verify.verify(folder)
        _replace(folder, target, packed=bundle.is_file())
    return Rebuilt(
        bundle=target,
        plans=tuple(describe.plan_name(item) for item in built.plans),
        findings=findings,
        core=manifest.core,
        signed_by=proof.signed_by,
    )


def _require_device(bundle: Path, targets: tuple[str, ...]) -> None:
    """Refuse the target `gpu` where there is none, before anything is read."""
    if GPU not in targets:
        return
    found = device.probe()
    if not found.gpus:
        raise BackendUnavailable(
            f"a TensorRT plan is built on the GPU that it is for, and here is none: {found.reason}",
            where=str(bundle),
            hint=(
                "run `trt-pipeline rebuild` on the machine with the GPU: it needs this bundle and "
                "pip install 'trt-pipeline[rebuild,gpu,tensorrt]'; for TensorRT-RTX no GPU is needed: --target 8.9"
            ),
        )


def _build(
    bundle: Opened, folder: Path, targets: tuple[str, ...], work: Path, timing_cache: Path | None, progress: Progress
) -> EnginePlans:
    """Build for the targets, as the line does: same profile, same settings, same checks."""
    from pipeline.stages.build import TIMING_CACHE, build

    manifest = bundle.manifest
    out = work / "build"
    out.mkdir()
    if timing_cache is not None and timing_cache.exists():
        shutil.copyfile(timing_cache, out / TIMING_CACHE)
    first = manifest.plans[0]
    try:
        spec = BuildSpec(targets=targets, workspace_mib=first.workspace_mib, tf32=first.tf32)
        inputs = {item.name: InputSpec(dtype=item.dtype, axes=item.shape) for item in manifest.graph.inputs}
    except ValueError as error:
        raise SpecError(str(error), where="--target") from error
    mixed = OnnxModel(
        path=folder / manifest.graph.path,
        opset=manifest.graph.opset,
        inputs=manifest.graph.inputs,
        outputs=manifest.graph.outputs,
        provenance=manifest.weights,
    )
    plan = serde.loads(PrecisionPlan, content.read(folder, manifest.precision.path, manifest))
    axes = {name: AxisRange(min=axis.min, opt=axis.opt, max=axis.max) for name, axis in manifest.graph.axes.items()}
    built = build(mixed, plan, _shipped(folder, manifest), inputs, axes, spec, out=out, progress=progress)
    if timing_cache is not None and (out / TIMING_CACHE).exists():
        timing_cache.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(out / TIMING_CACHE, timing_cache)
    return built


def _shipped(folder: Path, manifest: Manifest) -> FusionBaseline:
    """The plan that was validated and shipped, as what a new one may not fall behind: no fused attention is lost."""
    from pipeline.analysis.delivery.fusion import attention_cores
    from pipeline.backends import plan_text
    from pipeline.backends.tensorrt.flavour import Flavour
    from pipeline.graph import io

    cores = len(attention_cores(io.load(folder / manifest.graph.path).graph))
    for plan in manifest.plans:
        if plan.flavour == Flavour.RTX:
            text = plan_text.read(folder / plan.path)
            return FusionBaseline(attentions=cores, target=plan.targets[0], plan=text)
    return FusionBaseline(attentions=cores, reason="the bundle holds no plan that can be read")


def _require(findings: tuple[Finding, ...], bundle: Path) -> None:
    if failed := [finding for finding in findings if not finding.check.passed]:
        lines = "".join(
            f"\n    {item.plan}: {item.check.name}: {'; '.join(item.check.problems[:3]) or item.check.summary}"
            for item in failed
        )
        raise BundleError(
            f"the new plan was not added: it does not hold what the bundle promises{lines}",
            where=str(bundle),
            hint="the bundle is as it was",
        )


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A scratch folder on the file system of `target`, so that the result can be moved there."""
    try:
        target.resolve().parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-rebuild-", dir=target.resolve().parent))
    except OSError as error:
        raise BundleError(f"cannot be written: {error.strerror}", where=str(target)) from error
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch)


def _replace(folder: Path, target: Path, *, packed: bool) -> None:
    """Put the result in its place; what was there is moved aside first and goes last."""
    if packed:
        whole = folder.parent / target.name
        archive.pack(folder, whole)
        whole.replace(target)
        return
    before = folder.parent / "before"
    if target.exists():
        target.rename(before)
    try:
        folder.rename(target)
    except OSError:
        if before.exists():
            before.rename(target)
        raise
