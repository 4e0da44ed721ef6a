"""Every float tensor of a reference against its counterpart in a candidate, in one session, reduced in the graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from pipeline.analysis import batches
from pipeline.analysis.comparison.elements import elements_of, samples, stack_of
from pipeline.analysis.comparison.huge import huge
from pipeline.analysis.comparison.masks import Mask
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Fate
from pipeline.core.errors import ValidationError
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec
from pipeline.precision import pair_reducers
from pipeline.precision.differences import Difference
from pipeline.precision.instrument import Reducer, Tap, as_float, attach, results
from pipeline.precision.side_by_side import Merged, Pair, merge

KEPT = "::kept"
"""Suffix of the tap that looks only at what no mask excludes."""

ALONE = "::alone"
"""Suffix of the tap that looks at what a node makes of the reference's tensors, where no mask excludes it."""

ROWS = "rows"
"""Graph input that takes the shape (samples, -1)."""

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How one tensor differs.

    Attributes:
        kept: Over the elements that no mask excludes.
        everything: Over all elements; None where no mask covers the tensor.
        alone: Like `kept`, of what its node makes of the reference's tensors; None where it was not asked for.
    """

    kept: Difference
    everything: Difference | None = None
    alone: Difference | None = None


def compare(
    reference: ir.Model,
    candidate: ir.Model,
    fates: Iterable[Fate],
    files: Sequence[Path],
    inputs: Mapping[str, InputSpec],
    progress: Progress,
    *,
    alone: bool = False,
) -> tuple[dict[str, Compared], dict[str, str]]:
    """Compare every float tensor of `reference` over all batches.

    Args:
        reference: An fp32 model.
        candidate: A model with the same inputs, in fp32 (an emulated graph).
        fates: What became of the reference's tensors in the candidate.
        files: Batches.
        inputs: Graph inputs, with the axes that they mask.
        progress: Told of each batch.
        alone: Also compare what each node makes of the reference's own tensors.

    Returns:
        Differences by tensor name, and the tensors that were not compared, each with the reason.

    Raises:
        ValidationError: A tensor has no counterpart and no fate, or another shape.
    """
    fates = tuple(fates)
    first = _Look(pair_reducers.quick, merge(reference, candidate, fates, alone=alone), inputs, only=None)
    found, special = first.over(files, progress)
    if special:
        deeper = any(key.endswith(ALONE) for key in special)
        second = _Look(pair_reducers.full, merge(reference, candidate, fates, alone=deeper), inputs, only=special)
        found |= second.over(files, progress)[0]
    pairs = {pair.tensor: _compared(pair, found) for pair in first.merged.pairs}
    return pairs, first.merged.gaps


class _Look:
    """One session over both graphs, with one reducer."""

    def __init__(
        self, reducer: Reducer, merged: Merged, inputs: Mapping[str, InputSpec], only: frozenset[str] | None
    ) -> None:
        self.reducer, self.merged = reducer, merged
        quick = reducer is pair_reducers.quick
        self.second = pair_reducers.brief if quick else reducer
        self.names = [str(value.name) for value in merged.model.graph.inputs]
        self.masks: dict[str, Mask] = {}
        self.stack = stack_of(inputs)
        pairs = [(pair, elements_of(shape_of(pair.reference), inputs)) for pair in merged.pairs]
        masks = {item.mask.name: item.mask for _, item in pairs if item.mask is not None}
        # Multiplying by 0 or 1 is far quicker than Where; what is not finite becomes NaN, and gets a second look.
        self.kind: type[np.bool_ | np.float32] = np.float32 if quick else np.bool_
        values = {name: mask_input(merged.model.graph, name, mask.rank, self.kind) for name, mask in masks.items()}
        by_sample, whole = _rows(merged.model.graph)
        position = {node: index for index, node in enumerate(merged.model.graph)}
        taps, alone = [], []
        squares_leave_fp32 = huge(merged.model.graph)
        for pair, item in pairs:
            mask, rows = item.mask, by_sample if item.leads else whole
            wanted = [suffix for suffix in ("", KEPT, ALONE) if only is None or pair.tensor + suffix in only]
            keep = None if mask is None else values[mask.name]
            if "" in wanted:
                taps.append(_tap(merged.model, pair.tensor, pair.reference, pair.candidate, None, rows, position))
            if mask is not None and KEPT in wanted:
                taps.append(
                    _tap(merged.model, pair.tensor + KEPT, pair.reference, pair.candidate, keep, rows, position)
                )
                self.masks[pair.tensor + KEPT] = mask
            if pair.alone not in (None, pair.reference) and ALONE in wanted:
                cut = None if quick else rows
                alone.append(_tap(merged.model, pair.tensor + ALONE, pair.reference, pair.alone, keep, cut, position))
                if mask is not None:
                    self.masks[pair.tensor + ALONE] = mask
        self.alone = [tap.key for tap in alone]
        attach(merged.model, self.second, alone)
        self.groups: list[tuple[Reducer, list[str]]] = []
        wide = [tap for tap in taps if quick and squares_leave_fp32 & set(tap.values)]
        for how, some in ((pair_reducers.wide, wide), (reducer, [tap for tap in taps if tap not in wide])):
            attach(merged.model, how, some, beside=True)
            self.groups.append((how, [tap.key for tap in some]))
        _drop_unused(merged.model, [*values.values(), by_sample])
        self.session = Session(merged.model, as_written=True)

    def over(self, files: Sequence[Path], progress: Progress) -> tuple[dict[str, Difference], frozenset[str]]:
        """Differences over all batches, and the taps that held non-finite elements."""
        keys = [key for _, some in self.groups for key in some]
        found = dict.fromkeys([*keys, *self.alone], Difference())
        special: set[str] = set()
        first = 0
        for index, file in enumerate(files):
            feeds = batches.read(file, self.names)
            count = samples(self.stack, feeds)
            keep = {mask.name: mask.array(feeds) for mask in self.masks.values()}
            factors: dict[str, Any] = {
                name: keep[name].astype(self.kind) for name in self.session.inputs if name in keep
            }
            if ROWS in self.session.inputs:
                factors[ROWS] = np.array([count, -1])
            arrays = self.session({**feeds, **factors})
            shares = {key: float(np.mean(keep[mask.name])) for key, mask in self.masks.items()}
            for key, part in self._parts(arrays, first, count, shares):
                if part is None:
                    special.add(key)
                else:
                    found[key] = found[key].merge(part)
            first += count
            progress.advance("validation batches", index + 1, len(files))
        return found, frozenset(special)

    def _parts(
        self, arrays: Arrays, first: int, count: int, shares: Mapping[str, float]
    ) -> Iterator[tuple[str, Difference | None]]:
        of_pairs = {key: found for how, keys in self.groups for key, found in results(how, keys, arrays).items()}
        for key, outputs in of_pairs.items():
            yield key, _read(key, outputs, first, count, shares.get(key, 1.0))
        for key, outputs in results(self.second, self.alone, arrays).items():
            share = shares.get(key, 1.0)
            if self.second is self.reducer:
                yield key, _read(key, outputs, first, count, share)
            else:
                name = key.removesuffix(ALONE)
                of_first = of_pairs.get(name + KEPT, of_pairs[name])
                yield key, pair_reducers.read_brief(outputs, of_first, share=share)


def _read(key: str, outputs: list[Any], first: int, count: int, share: float) -> Difference | None:
    try:
        return pair_reducers.read(outputs, first=first, samples=count, share=share)
    except ValidationError as error:
        raise ValidationError(error.what, where=f"tensor {key.removesuffix(KEPT)}") from error


def _compared(pair: Pair, found: Mapping[str, Difference]) -> Compared:
    everything, kept = found[pair.tensor], found.get(pair.tensor + KEPT)
    counted = everything if kept is None else kept
    alone = None if pair.alone is None else found.get(pair.tensor + ALONE, _no_error(counted))
    return Compared(kept=counted, everything=None if kept is None else everything, alone=alone)


def _no_error(like: Difference) -> Difference:
    return Difference(elements=like.elements, signal=like.signal, power=like.signal)


def shape_of(value: ir.Value) -> tuple[int | str, ...]:
    """Sizes and axis names, as `masks.mask_of` takes them; empty where nothing is known."""
    if value.shape is None:
        return ()
    return tuple(dim if isinstance(dim, int) else str(dim.value) for dim in value.shape)


def mask_input(graph: ir.Graph, name: str, rank: int, kind: type[np.bool_ | np.float32] = np.bool_) -> ir.Value:
    """A new graph input that takes the array of a mask, as booleans or as factors 0 and 1."""
    shape = ir.Shape([f"{name}.{axis}" for axis in range(rank)])
    value = ir.Value(name=name, type=ir.TensorType(ir.DataType.from_numpy(np.dtype(kind))), shape=shape)
    graph.inputs.append(value)
    return value


def _rows(graph: ir.Graph) -> tuple[ir.Value, ir.Value]:
    """Shapes that make rows of a tensor: one a sample, which is a new graph input, and one for the whole batch."""
    by_sample = ir.Value(name=ROWS, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([2]))
    whole = ir.val(f"{ROWS}::one", const_value=ir.tensor(np.array([1, -1]), name=f"{ROWS}::one"))
    graph.inputs.append(by_sample)
    graph.register_initializer(whole)
    return by_sample, whole


def _drop_unused(model: ir.Model, added: Iterable[ir.Value]) -> None:
    """Nodes that no reduction needs, then inputs that were added for reductions and that nothing reads."""
    RemoveUnusedNodesPass()(model)
    for value in added:
        if not value.uses():
            model.graph.inputs.remove(value)


def _tap(
    model: ir.Model,
    key: str,
    one: ir.Value,
    other: ir.Value,
    keep: ir.Value | None,
    rows: ir.Value | None,
    position: Mapping[ir.Node, int],
) -> Tap:
    """Two tensors, with everything that does not count set to zero in both, and their rows where a reducer asks."""
    sides = (as_float(model, one), as_float(model, other))
    cut = () if rows is None else (rows,)
    if keep is None:
        return Tap(key=key, values=(*sides, *cut))
    nodes = [_masked(model, value, keep, f"{key}::{value.name}") for value in sides]
    for node in nodes:
        node.outputs[0].name, node.outputs[0].dtype = f"{node.name}::kept", ir.DataType.FLOAT
    _, last = max(zip((one, other), sides, strict=True), key=lambda both: position.get(both[0].producer(), -1))  # type: ignore[arg-type]
    producer = last.producer()
    if producer is None:
        model.graph.insert_before(model.graph.node(0), nodes)
    else:
        model.graph.insert_after(producer, nodes)
    return Tap(key=key, values=(nodes[0].outputs[0], nodes[1].outputs[0], *cut))


def _masked(model: ir.Model, value: ir.Value, keep: ir.Value, name: str) -> ir.Node:
    if keep.dtype is ir.DataType.FLOAT:
        return ir.node("Mul", [value, keep], name=name)
    return ir.node("Where", [keep, value, _zero(model.graph)], name=name)


def keep_only(model: ir.Model, value: ir.Value, keep: ir.Value) -> ir.Value:
    """`value` with zeros where `keep` is False, computed right after it."""
    node = _masked(model, value, keep, f"{KEPT}::{value.name}")
    node.outputs[0].name, node.outputs[0].dtype = f"{value.name}{KEPT}", ir.DataType.FLOAT
    producer = value.producer()
    if producer is None:
        model.graph.insert_before(model.graph.node(0), node)
    else:
        model.graph.insert_after(producer, node)
    return node.outputs[0]


def _zero(graph: ir.Graph) -> ir.Value:
    name = "kept::zero"
    if name not in graph.initializers:
        graph.register_initializer(ir.val(name, const_value=ir.tensor(np.array(0, np.float32), name=name)))
    return graph.initializers[name]
