"""Observe what every float tensor of the fp32 model holds on the calibration samples."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline.core.artifacts import ActivationRanges, OnnxModel, Samples
from pipeline.core.errors import CalibrationError
from pipeline.core.formats import Format
from pipeline.core.progress import Progress
from pipeline.core.stage import stage


@stage(
    version=1,
    rooms=(
        "analysis/observe.py",
        "analysis/batches.py",
        "backends/array_runner.py",
        "backends/onnxruntime.py",
        "precision",
        "graph",
    ),
    tools=("onnxruntime-gpu",),
)
def calibrate(
    reference: OnnxModel, samples: Samples, low: Format, *, out: Path, progress: Progress
) -> ActivationRanges:
    """Run the calibration batches through ONNX Runtime in fp32, reducing every tensor inside the graph.

    Args:
        reference: The canonical fp32 model.
        samples: Their `calibration` set is used.
        low: The format whose overflows and underflows are counted.
        out: Not used: the ranges are the whole result.
        progress: Told of each batch.

    Returns:
        A range for every float tensor of the main graph, or the reason why there is none.

    Raises:
        CalibrationError: A batch lacks an input, or nothing was observed.
        GraphError: ONNX Runtime cannot run the model.
    """
    from pipeline.analysis.observe import observe
    from pipeline.graph import io

    with ThreadPoolExecutor(max_workers=1) as aside:  # hashing hundreds of megabytes need not be waited for
        digest = aside.submit(io.model_digest, reference)
        tensors, unobserved = observe(reference.path, samples.calibration.batches, low, progress)
    if not tensors:
        raise CalibrationError("no float tensor of the model could be observed", where=str(reference.path))
    return ActivationRanges(
        model=digest.result(),
        samples=samples.calibration.samples,
        low=low,
        tensors=tensors,
        unobserved=unobserved,
    )
