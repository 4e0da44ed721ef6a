"""The same function in the form whose fusions TensorRT keeps."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.artifacts import OnnxModel
from pipeline.core.progress import Progress
from pipeline.core.stage import stage


@stage(
    version=1,
    rooms=(
        "precision/rewrites",
        "precision/attention.py",
        "precision/bounds/intervals.py",
        "precision/semantics.py",
        "graph",
    ),
    tools=("onnx", "onnx-ir", "numpy"),
)
def canonicalise(exported: OnnxModel, *, out: Path, progress: Progress) -> OnnxModel:
    """Fold constants, remove dead nodes, and bring attention and layer norms into the form that fuses.

    Args:
        exported: The fp32 model.
        out: Folder for `model.onnx` and its weights.
        progress: Where to tell how far it is.

    Returns:
        A model with the same inputs, outputs and function, and the fate of every tensor of `exported` that changed.

    Raises:
        GraphError: `exported` cannot be read, or a tensor has no element type.
    """
    from pipeline.graph import io
    from pipeline.precision.rewrites.canonical import canonicalise as rewrite

    model = io.load(exported.path)
    fates = rewrite(model)
    path = io.save(model, out)
    nodes = {node.name for node in model.graph}
    given = {node: low for node, low in exported.given.items() if node in nodes}
    return io.describe(model, path, provenance=exported.provenance, fates=fates, given=given)
