"""search: the cheapest precision plan within the error budget, confirmed on samples that the search never saw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.artifacts import (
    ActivationRanges,
    GpuAtHand,
    OnnxModel,
    Samples,
    Scratchpad,
    SearchResult,
    SourceTree,
)
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, BuildSpec, CostSource, InputSpec, PrecisionSpec, TaskSpec, ToleranceSpec
from pipeline.core.stage import stage

if TYPE_CHECKING:
    from pipeline.analysis.search.latencies import Latencies


@stage(
    version=1,
    rooms=(
        "analysis",
        "backends/array_runner.py",
        "backends/comparator.py",
        "backends/onnxruntime.py",
        "backends/tensorrt",
        "data",
        "precision",
        "graph",
    ),
    tools=("onnx", "onnx-ir", "onnxruntime-gpu", "numpy", "polygraphy", "tensorrt-rtx", "tensorrt"),
)
def search(
    exported: OnnxModel,
    reference: OnnxModel,
    ranges: ActivationRanges,
    precision: PrecisionSpec,
    samples: Samples,
    inputs: dict[str, InputSpec],
    axes: dict[str, AxisRange],
    task: TaskSpec | None,
    tolerances: ToleranceSpec,
    build: BuildSpec,
    engine: SourceTree,
    scratchpad: Scratchpad,
    gpu: GpuAtHand | None = None,
    *,
    out: Path,
    progress: Progress,
) -> SearchResult:
    """Find the plan of least cost that meets the error budget.

    Args:
        exported: Reference of outputs and of the task metric.
        reference: The fp32 model that is decided for.
        ranges: What its tensors held in calibration.
        precision: How precision is decided where the search does not; its `search` says the budget, where it is not
            that of `tolerances` and `task`, and the limits of the search.
        samples: The search sees some of the calibration set; the validation and task sets confirm what it found.
        inputs: Graph inputs.
        axes: Sizes of every dynamic axis: costs are counted at their optimum.
        task: The task metric, or None.
        tolerances: What outputs may differ by.
        build: How the plan is built: for which targets, and whether fp32 products may use TF32.
        engine: Folder of `engine.toml`.
        scratchpad: Keeps what each trial gave, so that a killed search goes on.
        gpu: What latencies are measured on, where they are: those of another GPU do not count.
        out: Unused: the result is a record without files.
        progress: Told of every plan that is tried.

    Raises:
        BackendUnavailable: Latencies are to be measured, and there is no GPU or no TensorRT for it.
        CalibrationError: `ranges` were observed on another model, or no sample is left to search on.
        PrecisionError: No plan meets the budget.
    """
    from pipeline.analysis.search.find import Question
    from pipeline.analysis.search.find import search as find
    from pipeline.graph import io
    from pipeline.precision import evidence
    from pipeline.precision.bounds import Given
    from pipeline.precision.costing.rates import of_targets
    from pipeline.precision.policy import policy_file, search_space
    from pipeline.precision.targets import possible

    model = io.load(reference.path)
    evidence.require_same_model(ranges, io.model_digest(reference), precision)
    allowed, _ = possible(precision.without_search(), build.targets)
    seen = evidence.gather(model, ranges, allowed, Given.of(inputs, axes))
    settings = policy_file.settings(allowed, engine.folder)
    latencies = None
    if precision.search.cost is CostSource.MEASURED:
        latencies = _latencies(reference, build, inputs, axes, samples, scratchpad, progress)
    question = Question(
        exported=exported,
        reference=reference,
        space=search_space.of(seen, settings, ranges, reference.given),
        samples=samples,
        inputs=inputs,
        axes=axes,
        task=task,
        tolerances=tolerances,
        search=precision.search,
        tf32=build.tf32,
        rates=of_targets(build.targets),
        memory=scratchpad.folder,
        latencies=latencies,
    )
    return find(question, progress)


def _latencies(
    reference: OnnxModel,
    build: BuildSpec,
    inputs: dict[str, InputSpec],
    axes: dict[str, AxisRange],
    samples: Samples,
    scratchpad: Scratchpad,
    progress: Progress,
) -> Latencies:
    """Latencies on the GPU at hand, kept beside the trials."""
    from pipeline.analysis.gpu.stopwatch import Stopwatch, bench
    from pipeline.analysis.search.latencies import Latencies
    from pipeline.analysis.search.memory import Memory
    from pipeline.precision.costing.cost import Measurement

    stopwatch = Stopwatch(
        bench=bench(build),
        reference=reference,
        build=build,
        inputs=inputs,
        axes=axes,
        batch=samples.calibration.batches[0],
        folder=scratchpad.folder,
        progress=progress,
    )
    memory = Memory(Measurement, scratchpad.folder / f"latencies-{stopwatch.key}.jsonl")
    return Latencies(where=str(stopwatch.bench), measure=stopwatch, memory=memory)
