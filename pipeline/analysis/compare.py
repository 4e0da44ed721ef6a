"""Every float tensor of a reference against its counterpart in a candidate, in one session, reduced in the graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.analysis import batches
from pipeline.analysis.masks import Mask, mask_of
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Fate
from pipeline.core.errors import ValidationError
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec
from pipeline.precision import differences
from pipeline.precision.differences import Difference
from pipeline.precision.instrument import Reducer, Tap, as_float, attach, results
from pipeline.precision.side_by_side import Merged, Pair, merge

KEPT = "::kept"
"""Suffix of the tap that looks only at what no mask excludes."""

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How one tensor differs.

    Attributes:
        kept: Over the elements that no mask excludes.
        everything: Over all elements; None where no mask covers the tensor.
    """

    kept: Difference
    everything: Difference | None = None


def compare(
    reference: ir.Model,
    candidate: ir.Model,
    fates: Iterable[Fate],
    files: Sequence[Path],
    inputs: Mapping[str, InputSpec],
    progress: Progress,
) -> tuple[dict[str, Compared], dict[str, str]]:
    """Compare every float tensor of `reference` over all batches.

    Returns:
        Differences by tensor name, and the tensors that were not compared, each with the reason.

    Raises:
        ValidationError: A tensor has no counterpart and no fate, or another shape.
    """
    fates = tuple(fates)
    first = _Look(differences.quick, merge(reference, candidate, fates), inputs, only=None)
    found, special = first.over(files, progress)
    if special:
        second = _Look(differences.full, merge(reference, candidate, fates), inputs, only=special)
        found |= second.over(files, progress)[0]
    names = [key for key in found if not key.endswith(KEPT)]
    pairs = {name: _compared(name, found) for name in names}
    return pairs, first.merged.gaps


class _Look:
    """One session over both graphs, with one reducer."""

    def __init__(
        self, reducer: Reducer, merged: Merged, inputs: Mapping[str, InputSpec], only: frozenset[str] | None
    ) -> None:
        self.reducer, self.merged = reducer, merged
        self.names = [str(value.name) for value in merged.model.graph.inputs]
        self.masks: dict[str, Mask] = {}
        pairs = [(pair, mask_of(_shape(pair.reference), inputs)) for pair in merged.pairs]
        masks = {mask.name: mask for _, mask in pairs if mask is not None}
        values = {name: _mask_input(merged.model.graph, name, mask.rank) for name, mask in masks.items()}
        position = {node: index for index, node in enumerate(merged.model.graph)}
        taps = []
        for pair, mask in pairs:
            wanted = [key for key in (pair.tensor, pair.tensor + KEPT) if only is None or key in only]
            if pair.tensor in wanted:
                taps.append(self._tap(pair))
            if mask is not None and pair.tensor + KEPT in wanted:
                taps.append(_kept_tap(merged.model, pair, values[mask.name], position))
                self.masks[pair.tensor + KEPT] = mask
        self.keys = [tap.key for tap in taps]
        attach(merged.model, reducer, taps)
        _drop_unused(merged.model.graph, values)
        self.session = Session(merged.model, as_written=True)

    def over(self, files: Sequence[Path], progress: Progress) -> tuple[dict[str, Difference], frozenset[str]]:
        """Differences over all batches, and the taps that held non-finite elements."""
        found = dict.fromkeys(self.keys, Difference())
        special: set[str] = set()
        for index, file in enumerate(files):
            feeds = batches.read(file, self.names)
            keep = {mask.name: mask.array(feeds) for mask in self.masks.values()}
            arrays = self.session({**feeds, **{name: keep[name] for name in self.session.inputs if name in keep}})
            for key, outputs in results(self.reducer, self.keys, arrays).items():
                share = float(np.mean(keep[self.masks[key].name])) if key in self.masks else 1.0
                part = _read(key, outputs, index, share)
                if part is None:
                    special.add(key)
                else:
                    found[key] = found[key].merge(part)
            progress.advance("validation batches", index + 1, len(files))
        return found, frozenset(special)

    def _tap(self, pair: Pair) -> Tap:
        model = self.merged.model
        return Tap(key=pair.tensor, values=(as_float(model, pair.reference), as_float(model, pair.candidate)))


def _read(key: str, outputs: list[Any], batch: int, share: float) -> Difference | None:
    try:
        return differences.read(outputs, batch=batch, share=share)
    except ValidationError as error:
        raise ValidationError(error.what, where=f"tensor {key.removesuffix(KEPT)}") from error


def _compared(name: str, found: Mapping[str, Difference]) -> Compared:
    kept = found.get(name + KEPT)
    return Compared(kept=found[name]) if kept is None else Compared(kept=kept, everything=found[name])


def _shape(value: ir.Value) -> tuple[int | str, ...]:
    if value.shape is None:
        return ()
    return tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)


def _mask_input(graph: ir.Graph, name: str, rank: int) -> ir.Value:
    shape = ir.Shape([f"{name}.{axis}" for axis in range(rank)])
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.BOOL), shape=shape)
    graph.inputs.append(value)
    return value


def _drop_unused(graph: ir.Graph, masks: Mapping[str, ir.Value]) -> None:
    for value in masks.values():
        if not value.uses():
            graph.inputs.remove(value)


def _kept_tap(model: ir.Model, pair: Pair, keep: ir.Value, position: Mapping[ir.Node, int]) -> Tap:
    """The pair with everything that does not count set to zero in both."""
    zero = _zero(model.graph)
    sides = (pair.reference, pair.candidate)
    nodes = [ir.node("Where", [keep, value, zero], name=f"{KEPT}::{value.name}") for value in sides]
    for node, value in zip(nodes, sides, strict=True):
        node.outputs[0].name, node.outputs[0].dtype = f"{value.name}{KEPT}", ir.DataType.FLOAT
    producers = [producer for value in sides if (producer := value.producer()) is not None]
    model.graph.insert_after(max(producers, key=lambda node: position[node]), nodes)
    return Tap(key=pair.tensor + KEPT, values=tuple(node.outputs[0] for node in nodes))


def _zero(graph: ir.Graph) -> ir.Value:
    name = "kept::zero"
    if name not in graph.initializers:
        graph.register_initializer(ir.val(name, const_value=ir.tensor(np.array(0, np.float32), name=name)))
    return graph.initializers[name]
