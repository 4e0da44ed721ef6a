"""search: the cheapest precision plan within the error budget, confirmed on samples that the search never saw."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.artifacts import ActivationRanges, OnnxModel, Samples, Scratchpad, SearchResult, SourceTree
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, BuildSpec, InputSpec, PrecisionSpec, TaskSpec, ToleranceSpec
from pipeline.core.stage import stage


@stage(
    version=1,
    rooms=(
        "analysis",
        "backends/array_runner.py",
        "backends/comparator.py",
        "backends/onnxruntime.py",
        "data",
        "precision",
        "graph",
    ),
    tools=("onnx", "onnx-ir", "onnxruntime-gpu", "numpy", "polygraphy"),
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
        out: Unused: the result is a record without files.
        progress: Told of every plan that is tried.

    Raises:
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
    )
    return find(question, progress)
