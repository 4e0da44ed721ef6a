"""convert: the strongly typed mixed graph, in which the precision plan is Casts and stored weights."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.artifacts import Check, Fate, OnnxModel, PrecisionPlan, Rescaled
from pipeline.core.errors import PrecisionError
from pipeline.core.progress import Progress
from pipeline.core.stage import stage


@stage(version=1, rooms=("precision", "graph"), tools=("onnx", "onnx-ir", "numpy"))
def convert(
    reference: OnnxModel, rescaled: Rescaled | None, plan: PrecisionPlan, *, out: Path, progress: Progress
) -> OnnxModel:
    """Write `reference`, or what rescaling made of it, with the casts that `plan` asks for.

    Args:
        reference: The canonical fp32 model.
        rescaled: Its layers that are held times powers of two; None where that was not asked for.
        plan: One decision a node of the model that is written.
        out: Receives `model.onnx` and its weights.
        progress: Told how many casts were inserted.

    Returns:
        The mixed model: same interface, same tensor names (`pipeline.precision.casts` says how copies are named), and
        the fates of the tensors of `reference` that it holds scaled, or masked with finite numbers.

    Raises:
        PrecisionError: The plan was made for another model, or asks for what ONNX has no types for.
    """
    from pipeline.graph import correspondence, io
    from pipeline.precision import casts

    source = rescaled.model if rescaled is not None and rescaled.model is not None else reference
    digest = io.model_digest(source)
    if plan.model != digest:
        raise PrecisionError(
            f"the precision plan was made for model {plan.model[:12]}, and this is model {digest[:12]}",
            hint="run mark on this model",
        )
    model = io.load(source.path)
    before = model.graph.num_nodes()
    fates = casts.apply(model, plan.decisions)
    progress.note(f"{model.graph.num_nodes() - before} of {model.graph.num_nodes()} nodes are casts")
    path = io.save(model, out)
    if source is not reference:
        fates = correspondence.compose(correspondence.tensor_names(io.load(reference.path)), source.fates, fates)
    return io.describe(
        model, path, provenance=reference.provenance, fates=fates, checks=(*_checks(rescaled), *_masks(fates))
    )


def _checks(rescaled: Rescaled | None) -> tuple[Check, ...]:
    """What rescaling did, for the report; nothing where no layer is out of range."""
    if rescaled is None or not rescaled.layers:
        return ()
    done = [f"{layer.node}: {layer.reason}" for layer in rescaled.done]
    refused = [f"{layer.node} is left out of range: {layer.refused}" for layer in rescaled.layers if layer.refused]
    summary = f"{len(done)} of {len(rescaled.layers)} linear layers out of range are held times powers of two"
    told = Check(name="rescaled", passed=True, summary=summary, notes=tuple(done), unobservable=tuple(refused))
    return (told,) if rescaled.equality is None else (told, rescaled.equality)


def _masks(fates: tuple[Fate, ...]) -> tuple[Check, ...]:
    """Which tensors hold finite numbers where they are masked, for the report; nothing where none does."""
    told = [f"{fate.tensor}: {fate.reason}" for fate in fates if fate.masked is not None]
    if not told:
        return ()
    summary = (
        f"{len(told)} tensors of masked scores are in a narrow format, finite and with the same probabilities; where a "
        "side is masked, comparisons take 0 for it"
    )
    return (Check(name="masks", passed=True, summary=summary, notes=tuple(told)),)
