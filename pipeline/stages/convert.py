"""convert: the strongly typed mixed graph, in which the precision plan is Casts and stored weights."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.artifacts import OnnxModel, PrecisionPlan
from pipeline.core.errors import PrecisionError
from pipeline.core.progress import Progress
from pipeline.core.stage import stage


@stage(version=1, rooms=("precision", "graph"), tools=("onnx", "onnx-ir", "numpy"))
def convert(reference: OnnxModel, plan: PrecisionPlan, *, out: Path, progress: Progress) -> OnnxModel:
    """Write `reference` with the casts that `plan` asks for.

    Args:
        reference: The canonical fp32 model.
        plan: One decision a node of it.
        out: Receives `model.onnx` and its weights.
        progress: Told how many casts were inserted.

    Returns:
        The mixed model: same interface, same tensor names (`pipeline.precision.casts` says how copies are named).

    Raises:
        PrecisionError: The plan was made for another model, or asks for what ONNX has no types for.
    """
    from pipeline.graph import io
    from pipeline.precision import casts

    digest = io.model_digest(reference)
    if plan.model != digest:
        raise PrecisionError(
            f"the precision plan was made for model {plan.model[:12]}, and this is model {digest[:12]}",
            hint="run mark on this model",
        )
    model = io.load(reference.path)
    before = model.graph.num_nodes()
    fates = casts.apply(model, plan.decisions)
    progress.note(f"{model.graph.num_nodes() - before} casts among {model.graph.num_nodes()} nodes")
    path = io.save(model, out)
    return io.describe(model, path, provenance=reference.provenance, fates=fates)
