"""compensate: the mean error that rounding adds to linear layers, taken out through their biases."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.artifacts import Compensated, OnnxModel, Samples
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec
from pipeline.core.stage import stage


@stage(
    version=1,
    rooms=("analysis", "backends/array_runner.py", "backends/onnxruntime.py", "precision", "graph"),
    tools=("onnxruntime-gpu", "onnx", "onnx-ir", "numpy"),
)
def compensate(
    reference: OnnxModel,
    mixed: OnnxModel,
    samples: Samples,
    inputs: dict[str, InputSpec],
    *,
    out: Path,
    progress: Progress,
) -> Compensated:
    """Measure the mean error of each channel on most calibration batches, and judge its correction on the others.

    Args:
        reference: The canonical fp32 model.
        mixed: The mixed model.
        samples: Their `calibration` set is used; validation samples stay unseen.
        inputs: Graph inputs, with the axes that they mask.
        out: Receives the model.
        progress: Told of batches.

    Returns:
        The mixed model with the corrections that help, or as it was with the reason.

    Raises:
        CalibrationError: There is one calibration batch only.
    """
    from pipeline.analysis import compensation

    subject = compensation.Subject(reference=reference, mixed=mixed, files=samples.calibration.batches, inputs=inputs)
    return compensation.compensate(subject, out, progress)
