"""build: the plan, or plans, of the mixed graph, and whether they deliver the planned precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core import digest
from pipeline.core.artifacts import (
    Check,
    EnginePlan,
    EnginePlans,
    FusionBaseline,
    LostFusion,
    OnnxModel,
    PlanText,
    PrecisionPlan,
    Scratchpad,
)
from pipeline.core.errors import BackendUnavailable, BuildError
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, BuildSpec, InputSpec
from pipeline.core.stage import stage

if TYPE_CHECKING:
    from pipeline.backends.tensorrt.records import BuildAnswer, BuildRequest, Shapes

TIMING_CACHE = "timing.cache"


@stage(
    version=1,
    rooms=(
        "analysis",
        "backends/tensorrt",
        "backends/plan_text.py",
        "precision/semantics.py",
        "precision/costing/work.py",
        "graph",
    ),
    tools=("tensorrt-rtx", "tensorrt", "polygraphy", "onnx-ir"),
)
def build(
    mixed: OnnxModel,
    plan: PrecisionPlan,
    baseline: FusionBaseline,
    inputs: dict[str, InputSpec],
    axes: dict[str, AxisRange],
    build: BuildSpec,
    scratchpad: Scratchpad | None = None,
    *,
    out: Path,
    progress: Progress,
) -> EnginePlans:
    """Build one TensorRT-RTX plan for all named targets, and a TensorRT plan for the GPU at hand where `gpu` is named.

    Where the named targets cannot share a plan, each is built alone, so that it is known by name which cannot be had.

    Args:
        mixed: The strongly typed graph.
        plan: Its precision plan.
        baseline: The all-low plan, which this one should not fall behind.
        inputs: Graph inputs.
        axes: Sizes of every dynamic axis.
        build: Targets and settings.
        scratchpad: Keeps TensorRT's timing caches from one build to the next; TensorRT-RTX has none.
        out: Receives plans, logs and the timing cache.
        progress: Told of TensorRT's phases.

    Returns:
        The plans, each with its log, its settings, the checks `parsed`, `built` and `fusion`, and the fused kernels it
        lost.

    Raises:
        BackendUnavailable: The library that a target needs, or the GPU, is not here.
        BuildError: A target cannot be built; the error names each with TensorRT's own reason.
    """
    from pipeline.backends.tensorrt import profiles

    work = _Work(
        mixed=mixed,
        spec=build,
        profiles=profiles.of_inputs(inputs, axes),
        sizes={name: axis.opt for name, axis in axes.items()},
        timings=None if scratchpad is None else scratchpad.folder,
        out=out,
        progress=progress,
    )
    named = tuple(target for target in build.targets if target != "gpu")
    results = [*(_build_named(work, named) if named else ()), *(_build_for_gpu(work) if "gpu" in build.targets else ())]
    return EnginePlans(plans=tuple(_described(work, result, plan, baseline) for result in results))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What all plans of one run share."""

    mixed: OnnxModel
    spec: BuildSpec
    profiles: dict[str, Shapes]
    sizes: dict[str, int]
    timings: Path | None
    out: Path
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """A request that was carried out, its answer and its log."""

    request: BuildRequest
    answer: BuildAnswer
    targets: tuple[str, ...]
    log: Path


def _build_named(work: _Work, targets: tuple[str, ...]) -> tuple[_Result, ...]:
    together = _attempt(work, targets)
    if together.answer.built:
        return (together,)
    if len(targets) == 1 or not together.answer.flags:  # without flags it was refused before any target counted
        raise _refusal(work, [together], ())
    work.progress.note(f"targets {', '.join(targets)} cannot share a plan; each is built alone")
    alone = [_attempt(work, (target,)) for target in targets]
    refused = [result for result in alone if not result.answer.built]
    if refused:
        raise _refusal(work, refused, [result.targets[0] for result in alone if result.answer.built])
    return tuple(alone)


def _build_for_gpu(work: _Work) -> tuple[_Result, ...]:
    from pipeline.backends.tensorrt import timing_cache
    from pipeline.core import device

    devices = device.probe()
    if not devices.gpus:
        raise BackendUnavailable(
            f"target 'gpu' needs an NVIDIA GPU: {devices.reason}",
            where="build.targets",
            hint='name compute capabilities instead, such as "8.9": TensorRT-RTX builds for them without a GPU',
        )
    gpu = devices.gpus[0]
    with timing_cache.shared(work.timings, gpu.name, work.out / TIMING_CACHE):
        result = _attempt(work, ("gpu",), built_for=(gpu.capability,))
    if not result.answer.built:
        raise _refusal(work, [result], ())
    return (result,)


def _attempt(work: _Work, targets: tuple[str, ...], *, built_for: tuple[str, ...] | None = None) -> _Result:
    from pipeline.backends.tensorrt import flavour, process
    from pipeline.backends.tensorrt.records import BuildRequest

    kind = flavour.of_target(targets[0])
    stem = "-".join(targets)
    request = BuildRequest(
        onnx=work.mixed.path,
        plan=work.out / f"{stem}.plan",
        flavour=kind,
        targets=targets if kind is flavour.Flavour.RTX else (),
        workspace_mib=work.spec.workspace_mib,
        tf32=work.spec.tf32,
        debug_tensors=work.spec.debug_tensors,
        profiles=work.profiles,
        timing_cache=None if kind is flavour.Flavour.RTX else work.out / TIMING_CACHE,
    )
    log = work.out / f"{stem}.log"
    answer = process.build(request, log, work.progress)
    return _Result(request=request, answer=answer, targets=built_for or targets, log=log)


def _refusal(work: _Work, refused: Sequence[_Result], possible: Sequence[str]) -> BuildError:
    """The error for targets that TensorRT refused, with its reason for each."""
    names = [target for result in refused for target in result.targets]
    rest = f"; {', '.join(possible)} can be built" if possible else ""
    by_reason: dict[str, list[str]] = {}
    for result in refused:
        by_reason.setdefault(result.answer.errors[0], []).extend(result.targets)
    reasons = "\n".join(f"    {', '.join(targets)}: {reason}" for reason, targets in by_reason.items())
    return BuildError(
        f"no plan for target {', '.join(names)}{rest}\n{reasons}",
        where=str(work.mixed.path),
        hint=_advice(refused),
    )


def _advice(refused: Sequence[_Result]) -> str:
    from pipeline.backends.tensorrt.records import NO_OPERATOR

    if any("7.5" in result.targets for result in refused):
        return (
            "7.5 has neither bf16 nor an fp32 MatMul in TensorRT-RTX: remove it from build.targets, "
            "or use a policy without them"
        )
    if any(NO_OPERATOR in error for result in refused for error in result.answer.errors):
        return "express it in other operators in the module: a table, a MatMul, or a few elementwise steps"
    return "remove the target from build.targets, or change the precision of the node that TensorRT names"


def _described(work: _Work, result: _Result, plan: PrecisionPlan, baseline: FusionBaseline) -> EnginePlan:
    from pipeline.backends import plan_text
    from pipeline.backends.tensorrt.flavour import Flavour

    request, answer, cache = result.request, result.answer, result.request.timing_cache
    text = plan_text.read(request.plan) if request.flavour is Flavour.RTX else None
    for warning in answer.warnings:
        work.progress.note(f"{request.flavour}: {warning}")
    checks = _checks(work, answer, plan, baseline, text)
    for check in checks:
        if not check.passed:
            work.progress.warn(f"{request.plan.name}: {check.name}: {check.summary}; first: {check.problems[0]}")
    return EnginePlan(
        path=request.plan,
        log=result.log,
        flavour=request.flavour,
        version=answer.version,
        targets=result.targets,
        digest=digest.of_file(request.plan),
        size=request.plan.stat().st_size,
        flags=answer.flags,
        tf32=request.tf32,
        workspace_mib=request.workspace_mib,
        profiles=request.profiles,
        text=text,
        checks=checks,
        warnings=answer.warnings,
        seconds=answer.seconds,
        timing_cache=cache if cache is not None and cache.exists() else None,
        lost=_lost(work, plan, baseline, text),
    )


def _lost(work: _Work, plan: PrecisionPlan, baseline: FusionBaseline, text: PlanText | None) -> tuple[LostFusion, ...]:
    """Fused kernels of the all-low plan that this plan lost; none are known where either cannot be read."""
    from pipeline.analysis.delivery import lost_fusions
    from pipeline.graph import io

    if text is None or text.version is None or baseline.plan is None:
        return ()
    lost = lost_fusions.find(io.load(work.mixed.path), plan, text, baseline.plan, work.sizes)
    for line in lost_fusions.split(lost):
        work.progress.note(line)
    return lost


def _checks(
    work: _Work, answer: BuildAnswer, plan: PrecisionPlan, baseline: FusionBaseline, text: PlanText | None
) -> tuple[Check, ...]:
    from pipeline.analysis.delivery import built, delivered, fusion
    from pipeline.graph import io

    model = io.load(work.mixed.path)
    return (
        delivered.parsed(plan, model, answer.layers),
        built.built(plan, model, text),
        fusion.check(model.graph, text, baseline),
    )
