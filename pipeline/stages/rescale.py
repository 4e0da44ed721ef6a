"""rescale: linear layers that leave the low format's range are held times powers of two."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.artifacts import ActivationRanges, OnnxModel, Rescaled, Samples, SourceTree
from pipeline.core.errors import CalibrationError
from pipeline.core.progress import Progress
from pipeline.core.spec import PrecisionSpec
from pipeline.core.stage import stage


@stage(
    version=1,
    rooms=(
        "analysis/rescaling.py",
        "analysis/comparison",
        "analysis/observe.py",
        "analysis/batches.py",
        "backends/array_runner.py",
        "backends/onnxruntime.py",
        "precision",
        "graph",
    ),
    tools=("onnxruntime-gpu", "onnx", "onnx-ir", "numpy"),
)
def rescale(
    reference: OnnxModel,
    ranges: ActivationRanges,
    samples: Samples,
    precision: PrecisionSpec,
    engine: SourceTree,
    *,
    out: Path,
    progress: Progress,
) -> Rescaled:
    """Bring linear layers into the low format's range by powers of two, which changes no bit in fp32.

    Args:
        reference: The canonical fp32 model.
        ranges: What its tensors held in calibration.
        samples: Their `calibration` set is used, where a layer overflows.
        precision: The margin of the range, and what may be lost.
        engine: Folder of `engine.toml`, in which a policy file lies.
        out: Receives the model, if a layer was rescaled.
        progress: Told of batches and of layers that stay out of range.

    Returns:
        The model and its ranges; nothing but the list of layers where none was rescaled.

    Raises:
        CalibrationError: `ranges` were observed on another model.
        SpecError: The policy file is wrong.
        PrecisionError: A pattern matches nothing.
    """
    from pipeline.analysis import rescaling
    from pipeline.graph import io

    if ranges.model != io.model_digest(reference):
        raise CalibrationError("ranges were observed on another model", hint="run calibrate on this model")
    subject = rescaling.Subject(
        reference=reference, ranges=ranges, files=samples.calibration.batches, spec=precision, folder=engine.folder
    )
    found = rescaling.rescale(subject, out, progress)
    for layer in found.layers:
        if layer.refused is not None:
            progress.warn(f"{layer.node} stays out of range: {layer.refused}")
        else:
            progress.note(f"{layer.node} is held times 2^{layer.exponent}")
    return found
