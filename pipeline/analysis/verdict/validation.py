"""The verdict: layers, outputs, task, and what was not run."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import onnx_ir as ir

from pipeline.analysis.causes import blame, magnitudes
from pipeline.analysis.comparison import outputs
from pipeline.analysis.comparison.compare import compare
from pipeline.analysis.comparison.outputs import Run
from pipeline.analysis.gpu import gpu_plan
from pipeline.analysis.verdict import extremes
from pipeline.analysis.verdict.contributions import contributions
from pipeline.analysis.verdict.layers import layers, worse
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import (
    Cause,
    Contribution,
    EnginePlans,
    ErrorStats,
    Extreme,
    GpuCheck,
    Layer,
    OnnxModel,
    Origin,
    OutputVerdict,
    PrecisionPlan,
    Samples,
    TaskVerdict,
    ValidationReport,
)
from pipeline.core.formats import Format
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, InputSpec, TaskSpec, ToleranceSpec
from pipeline.graph import io, modules
from pipeline.precision.blocks import sums_in_blocks
from pipeline.precision.emulate import LOW, emulate
from pipeline.precision.semantics import CONVOLUTIONS

CANONICAL = "canonical"
LISTED = 10
"""Bad layers that are listed one by one among the failures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is validated. Attributes as the parameters of `pipeline.stages.validate`."""

    engine: str
    exported: OnnxModel
    reference: OnnxModel
    mixed: OnnxModel
    plan: PrecisionPlan
    plans: EnginePlans
    inputs: dict[str, InputSpec]
    axes: dict[str, AxisRange] = field(default_factory=dict)


def report(
    subject: Subject,
    samples: Samples,
    task: TaskSpec | None,
    tolerances: ToleranceSpec,
    progress: Progress,
    *,
    gpu_check: bool = False,
) -> ValidationReport:
    """Compare everything that can be compared on this machine; with `gpu_check`, more than outputs on its GPU."""
    possible = _emulations(subject)
    found, causes, tried = _layers(subject, possible, samples, tolerances, progress)
    shares, unmeasured = _contributions(subject, samples, progress)
    extreme = _extremes(subject, samples, progress)
    with ExitStack() as stack:
        engine, not_run, environment = _engine(subject, stack)
        runs: dict[str, Run] = {name: Session(possible[name], as_written=True) for name in tried} | engine
        verdicts, canonical = _outputs(subject, runs, samples, tolerances, progress)
        tasks = _tasks(subject, runs, samples, task, progress)
    on_gpu, missed = _on_gpu(subject, found, samples, tolerances, progress) if gpu_check else (None, ())
    failures = (*_failures(subject, found, verdicts, tasks), *_broken(extreme))
    return ValidationReport(
        engine=subject.engine,
        passed=not failures,
        failures=failures,
        provenance=subject.exported.provenance,
        policy=subject.plan.policy,
        layers=found,
        outputs=verdicts,
        tasks=tasks,
        canonical=canonical,
        samples=samples.validation.samples,
        not_run=(*not_run, *_not_tried(possible, tried), *_not_emulated(subject), *unmeasured, *missed),
        environment=_environment() | environment,
        made=subject.mixed.checks,
        added=_added(subject),
        causes=causes,
        contributions=shares,
        extremes=extreme,
        gpu=on_gpu,
        subjects=_subjects(subject),
    )


def _extremes(subject: Subject, samples: Samples, progress: Progress) -> tuple[Extreme, ...]:
    return extremes.tried(
        io.load(subject.reference.path),
        emulate(io.load(subject.mixed.path)),
        subject.mixed.fates,
        subject.inputs,
        subject.axes,
        samples.validation.batches,
        progress,
    )


def _broken(tried: tuple[Extreme, ...]) -> Iterator[str]:
    for item in tried:
        if not item.passed:
            rest = f", and {item.broken - 1} layers behind it" if item.broken > 1 else ""
            yield (
                f"extreme '{item.name}': {item.first} is NaN or infinite where the fp32 model is finite{rest} "
                f"({item.inputs})"
            )


def _added(subject: Subject) -> dict[str, str]:
    known = {str(node.name) for node in io.load(subject.reference.path).graph}
    nodes = {str(node.name): node.metadata_props for node in io.load(subject.mixed.path).graph}
    return {
        name: props[modules.RESCALED]
        for name, props in nodes.items()
        if name not in known and modules.RESCALED in props
    }


def _subjects(subject: Subject) -> dict[str, str]:
    models = {"exported": subject.exported, "reference": subject.reference, "mixed": subject.mixed}
    graphs = {name: io.model_digest(model) for name, model in models.items()}
    return graphs | {plan.path.name: plan.digest for plan in subject.plans.plans}


def _emulations(subject: Subject) -> dict[str, ir.Model]:
    """The mixed graph emulated, twice where TensorRT may choose an accumulator."""
    mixed = io.load(subject.mixed.path)
    variants = {"emulated": emulate(mixed)}
    if any(sums_in_blocks(node) and node.outputs[0].dtype in LOW for node in mixed.graph):
        variants[f"emulated, accumulating in {subject.plan.low}"] = emulate(mixed, accumulate=Format(subject.plan.low))
    return variants


def _not_tried(possible: Iterable[str], tried: Sequence[str]) -> Iterator[str]:
    """Emulations that could only make a failing verdict worse."""
    for name in possible:
        if name not in tried:
            yield f"{name}: it fails as '{tried[0]}' already"


def _not_emulated(subject: Subject) -> Iterator[str]:
    """What the plan may do that no emulation does."""
    low = [n for n in io.load(subject.mixed.path).graph if n.op_type in CONVOLUTIONS and n.outputs[0].dtype in LOW]
    if low:
        yield (
            f"{len(low)} convolutions with sums in {subject.plan.low}: TensorRT takes their accumulator itself, "
            "and they are emulated with fp32 sums only"
        )


def _layers(
    subject: Subject,
    emulations: Mapping[str, ir.Model],
    samples: Samples,
    tolerances: ToleranceSpec,
    progress: Progress,
) -> tuple[tuple[Layer, ...], tuple[Cause, ...], tuple[str, ...]]:
    """Layers at their worst, what breaks them, and the emulations that were run: none more once a layer is bad."""
    reference, mixed = io.load(subject.reference.path), io.load(subject.mixed.path)
    fates = {fate.tensor: fate for fate in subject.mixed.fates}
    found: tuple[Layer, ...] = ()
    tried: list[str] = []
    for name, candidate in emulations.items():
        if any(layer.bad for layer in found):
            break
        tried.append(name)
        compared, gaps = compare(
            reference, candidate, fates.values(), samples.validation.batches, subject.inputs, progress, alone=True
        )
        these = layers(reference, mixed, fates, compared, gaps, tolerances.layer_slack_db)
        found = tuple(worse(one, other) for one, other in zip(found, these, strict=True)) if found else these
    low = Format(subject.plan.low)
    suspected = blame.find(reference, mixed, found, low)
    ranges = magnitudes.of_tensors(
        subject.reference.path,
        suspected.suspects(),
        low,
        samples.validation.batches,
        subject.inputs,
        progress,
    )
    return (*blame.told(suspected, ranges), tuple(tried))


def _contributions(
    subject: Subject, samples: Samples, progress: Progress
) -> tuple[tuple[Contribution, ...], tuple[str, ...]]:
    """What each module adds to the error at the outputs, or why it was not measured."""
    if subject.plan.model != io.model_digest(subject.reference):
        return (), ("share of the final error by module: the plan decides about a rewritten graph, not this reference",)
    reference, files = io.load(subject.reference.path), samples.validation.batches
    return contributions(reference, subject.plan, files, subject.inputs, progress), ()


def _engine(subject: Subject, stack: ExitStack) -> tuple[dict[str, Run], tuple[str, ...], dict[str, str]]:
    """The plan for the GPU at hand, ready to run; or why there is none."""
    found = gpu_plan.find(subject.plans)
    if isinstance(found, str):
        return {}, (f"engine: {found}",), {}
    plan, gpu = found
    return {Origin.ENGINE.value: stack.enter_context(gpu_plan.loaded(plan))}, (), {"gpu": gpu.name}


def _on_gpu(
    subject: Subject,
    layers: tuple[Layer, ...],
    samples: Samples,
    tolerances: ToleranceSpec,
    progress: Progress,
) -> tuple[GpuCheck | None, tuple[str, ...]]:
    """Both views of the plan and the latencies, or why there are none."""
    from pipeline.analysis.gpu import gpu_check

    found = gpu_plan.find(subject.plans)
    if isinstance(found, str):
        return None, (f"tapped engine and latencies: {found}",)
    return gpu_check.check(
        gpu_check.OnGpu(
            reference=subject.reference,
            mixed=subject.mixed,
            plan=found[0],
            gpu=found[1],
            low=Format(subject.plan.low),
            inputs=subject.inputs,
        ),
        layers,
        samples.validation.batches,
        tolerances,
        progress,
    ), ()


def _outputs(
    subject: Subject, runs: Mapping[str, Run], samples: Samples, tolerances: ToleranceSpec, progress: Progress
) -> tuple[tuple[OutputVerdict, ...], dict[str, ErrorStats]]:
    candidates: dict[str, Run] = {CANONICAL: Session(subject.reference.path), **runs}
    judged = outputs.judge(
        subject.exported,
        Session(subject.exported.path),
        candidates,
        samples.validation.batches,
        subject.inputs,
        tolerances,
        progress,
    )
    canonical = {name: item.difference.stats() for name, item in judged.pop(CANONICAL).items()}
    worst: dict[tuple[Origin, str], OutputVerdict] = {}
    for run, items in judged.items():
        for name, item in items.items():
            verdict = outputs.verdict(name, _origin(run), item, tolerances)
            key = (verdict.origin, name)
            worst[key] = _worse_output(worst[key], verdict) if key in worst else verdict
    return tuple(worst.values()), canonical


def _worse_output(one: OutputVerdict, other: OutputVerdict) -> OutputVerdict:
    if one.passed != other.passed:
        return one if other.passed else other
    return other if not other.stats.sqnr_db >= one.stats.sqnr_db else one


def _tasks(
    subject: Subject, runs: Mapping[str, Run], samples: Samples, task: TaskSpec | None, progress: Progress
) -> tuple[TaskVerdict, ...]:
    if task is None or samples.task is None:
        return ()
    names = [info.name for info in subject.exported.inputs]
    everything: dict[str, Run] = {"exported": Session(subject.exported.path), **runs}
    values = outputs.measure(task, samples.task.batches, names, everything, progress)
    reference = values.pop("exported")
    worst: dict[Origin, TaskVerdict] = {}
    for run, value in values.items():
        verdict = outputs.task_verdict(task, _origin(run), reference, value, samples.task.samples)
        known = worst.get(verdict.origin)
        if known is None or (known.passed and not verdict.passed):
            worst[verdict.origin] = verdict
    return tuple(worst.values())


def _origin(run: str) -> Origin:
    return Origin.ENGINE if run == Origin.ENGINE else Origin.EMULATED


def _failures(
    subject: Subject,
    found: tuple[Layer, ...],
    verdicts: tuple[OutputVerdict, ...],
    tasks: tuple[TaskVerdict, ...],
) -> tuple[str, ...]:
    bad = [layer for layer in found if layer.bad]
    failures = [f"layer {layer.tensor} ({_place(layer)}): {layer.reason}" for layer in bad[:LISTED]]
    if len(bad) > LISTED:
        failures.append(f"{len(bad) - LISTED} more layers are bad")
    if not any(layer.stats is not None for layer in found):
        failures.append("no layer was compared")
    failures += [f"output {item.name} ({item.origin}): {item.reason}" for item in verdicts if not item.passed]
    if not verdicts:
        failures.append("no output was compared")
    failures += [f"task {item.metric} ({item.origin}): {item.reason}" for item in tasks if not item.passed]
    for plan in subject.plans.plans:
        failures += [
            f"plan for {', '.join(plan.targets)}: {check.name}: {check.summary}"
            for check in plan.checks
            if not check.passed
        ]
    return tuple(failures)


def _place(layer: Layer) -> str:
    return f"{layer.op} in {layer.module}" if layer.module else layer.op


def _environment() -> dict[str, str]:
    tools = ("onnxruntime-gpu", "polygraphy", "numpy", "onnx-ir")
    return {tool: importlib.metadata.version(tool) for tool in tools} | {
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
