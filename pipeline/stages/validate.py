"""Hold the mixed graph, and on a GPU the plan, to the fp32 model: every layer, every output, and the task."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.artifacts import EnginePlans, GpuAtHand, OnnxModel, PrecisionPlan, Samples, ValidationReport
from pipeline.core.errors import ValidationError
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, InputSpec, TaskSpec, ToleranceSpec
from pipeline.core.stage import stage


@stage(
    version=2,
    rooms=(
        "analysis",
        "precision",
        "graph",
        "backends/array_runner.py",
        "backends/onnxruntime.py",
        "backends/comparator.py",
        "backends/tensorrt",
        "data/meters.py",
        "data/metrics.py",
    ),
    tools=("onnxruntime-gpu", "polygraphy", "onnx-ir", "numpy"),
)
def validate(
    engine: str,
    exported: OnnxModel,
    reference: OnnxModel,
    decided: OnnxModel,
    mixed: OnnxModel,
    plan: PrecisionPlan,
    plans: EnginePlans,
    samples: Samples,
    inputs: dict[str, InputSpec],
    task: TaskSpec | None,
    tolerances: ToleranceSpec,
    gpu: GpuAtHand,
    axes: dict[str, AxisRange] | None = None,
    *,
    out: Path,
    progress: Progress,
) -> ValidationReport:
    """Compare layers with the canonical model and outputs with the exported one.

    On a CPU the candidate is the emulated mixed graph; on a GPU that a plan was built for, the plan's outputs and task
    metric as well. A comparison that fails is a verdict in the report, not an exception.

    Args:
        engine: Name of the engine, for the report.
        exported: Reference of outputs and of the task metric.
        reference: The canonical model: reference of layers.
        decided: The fp32 model that `plan` decides about: `reference`, or what rescaling made of it.
        mixed: What `plan` made of `decided`; its fates tell of the tensors of `reference`.
        plan: The precision plan.
        plans: What was built of `mixed`.
        samples: Their `validation` and `task` sets are used.
        inputs: Graph inputs, with the axes that they mask.
        task: The task metric.
        tolerances: What a comparison may differ by.
        gpu: The GPU of this machine, and whether to do more on it than run the plan.
        axes: Sizes of every dynamic axis: the largest and the smallest are tried as extremes.
        out: Not used: the report is the whole result.
        progress: Told of each batch.

    Raises:
        ValidationError: A tensor or an output cannot be compared: it has another shape, or vanished without a reason.
    """
    from pipeline.analysis.verdict import validation
    from pipeline.analysis.verdict.subject import Subject

    if task is not None and samples.task is None:
        raise ValidationError("the spec names a task metric, and there are no task samples", where=engine)
    return validation.report(
        Subject(
            engine=engine,
            exported=exported,
            reference=reference,
            decided=decided,
            mixed=mixed,
            plan=plan,
            plans=plans,
            inputs=inputs,
            axes=axes or {},
        ),
        samples,
        task,
        tolerances,
        progress,
        gpu_check=gpu.check,
    )
