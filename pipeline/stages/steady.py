"""steady: how far the figures of a validation move when nothing but the processor changes."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.artifacts import OnnxModel, Samples
from pipeline.core.artifacts.steadiness import Steadiness
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec, TaskSpec
from pipeline.core.stage import stage


@stage(
    version=1,
    rooms=("analysis", "precision", "graph", "backends/onnxruntime.py", "data/meters.py", "data/metrics.py"),
    tools=("onnxruntime-gpu", "onnx-ir", "numpy"),
)
def steady(
    reference: OnnxModel,
    mixed: OnnxModel,
    samples: Samples,
    inputs: dict[str, InputSpec],
    task: TaskSpec | None,
    repeats: int,
    *,
    out: Path,
    progress: Progress,
) -> Steadiness:
    """Validate again, `repeats` times, with sums as other processors might give them (see `precision.shaken`).

    Args:
        reference: The canonical model.
        mixed: What was made of it.
        samples: Their `validation` and `task` sets are used.
        inputs: Graph inputs, with the axes that they mask.
        task: The task metric.
        repeats: How often.
        out: Not used: the figures are the whole result.
        progress: Told of each batch.

    Raises:
        ValidationError: A tensor cannot be compared.
    """
    from pipeline.analysis import steadiness

    return steadiness.measure(reference, mixed, samples, inputs, task, repeats, progress)
