"""What reads the pairs of two graphs in one: taps, each behind the mask and the samples of its tensor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from pipeline.analysis.comparison.elements import Elements, elements_of
from pipeline.analysis.comparison.huge import huge
from pipeline.analysis.comparison.masks import Mask
from pipeline.core.spec import InputSpec
from pipeline.precision.reducers import pair_reducers
from pipeline.precision.reducers.instrument import (
    Reducer,
    Tap,
    as_float,
    attach,
    axes_of_samples,
    insert_after,
    reshaped,
)
from pipeline.precision.reducers.side_by_side import Merged, Pair

KEPT = "::kept"
"""Suffix of the tap that looks only at what no mask excludes."""

ALONE = "::alone"
"""Suffix of the tap that looks at what a node makes of the reference's tensors, where no mask excludes it."""

ROWS = "rows"
"""Graph input that takes the shape (samples, -1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tapped:
    """What was attached.

    Attributes:
        groups: Taps of candidates, by what reduces them.
        alone: Taps of what nodes make of the reference's tensors.
        masks: The mask that a tap stands behind.
        kind: Element type of masks: factors 0 and 1, or booleans.
    """

    groups: list[tuple[Reducer, list[str]]]
    alone: list[str]
    masks: dict[str, Mask]
    kind: type[np.bool_ | np.float32]


def tap(merged: Merged, inputs: Mapping[str, InputSpec], *, only: frozenset[str] | None) -> Tapped:
    """Make reductions of every pair the outputs of `merged.model`, which is changed.

    Args:
        merged: Both graphs in one.
        inputs: Graph inputs, with the axes that they mask.
        only: Taps that are wanted, reduced by `full`; None for all of them, by what is quickest.
    """
    # Multiplying by 0 or 1 is far quicker than Where; what is not finite becomes NaN, and gets a second look.
    writer = _Writer(merged, np.float32 if only is None else np.bool_)
    for pair in merged.pairs:
        elements = elements_of(shape_of(pair.reference), inputs)
        wanted = [suffix for suffix in ("", KEPT, ALONE) if only is None or pair.tensor + suffix in only]
        writer.take(pair, elements, wanted, exact=only is not None)
    return writer.attached(pair_reducers.brief if only is None else pair_reducers.full)


@dataclass(slots=True)
class _Writer:
    """The taps of one graph so far."""

    merged: Merged
    kind: type[np.bool_ | np.float32]
    position: dict[ir.Node, int] = field(init=False)
    wide: set[ir.Value] = field(init=False)
    rows: ir.Value = field(init=False)
    keep: dict[str, ir.Value] = field(default_factory=dict)
    masks: dict[str, Mask] = field(default_factory=dict)
    taps: dict[str, list[Tap]] = field(default_factory=lambda: defaultdict(list))
    alone: list[Tap] = field(default_factory=list)

    def __post_init__(self) -> None:
        graph = self.merged.model.graph
        self.position = {node: index for index, node in enumerate(graph)}
        self.wide = huge(graph)
        self.rows = ir.Value(name=ROWS, type=ir.TensorType(ir.DataType.INT64), shape=ir.Shape([2]))
        graph.inputs.append(self.rows)

    def take(self, pair: Pair, elements: Elements, wanted: Iterable[str], *, exact: bool) -> None:
        """Tap one pair: everything, what its mask keeps, and what its node makes by itself.

        Only figures that are judged by are taken apart into samples: those of what the mask keeps, where there is one.
        """
        mask, whole = elements.mask, Elements(mask=elements.mask)
        if "" in wanted:
            self._candidate(pair.tensor, pair, elements if mask is None else Elements(), exact=exact)
        if KEPT in wanted and mask is not None:
            self._candidate(pair.tensor + KEPT, pair, elements, exact=exact)
        if ALONE in wanted and pair.alone is not None and pair.alone is not pair.reference:
            values = self._values(pair.tensor + ALONE, pair.reference, pair.alone, whole)
            axes = (self._axes(whole, pair.reference),) if exact else ()
            self.alone.append(Tap(key=pair.tensor + ALONE, values=(*values, *axes)))

    def _candidate(self, key: str, pair: Pair, elements: Elements, *, exact: bool) -> None:
        values = self._values(key, pair.reference, pair.candidate, elements)
        reducer = "full" if exact else "wide" if self.wide & set(values) else "samples" if elements.leads else "batch"
        axes = () if reducer == "batch" else (self._axes(elements, pair.reference),)
        self.taps[reducer].append(Tap(key=key, values=(*values, *axes)))

    def _values(self, key: str, one: ir.Value, other: ir.Value, elements: Elements) -> tuple[ir.Value, ir.Value]:
        """Two tensors in fp32, what does not count set to zero in both, samples along the first axis."""
        model = self.merged.model
        sides = (as_float(model, one), as_float(model, other))
        if elements.folded:
            return reshaped(model, sides[0], self.rows, f"{key}::r"), reshaped(model, sides[1], self.rows, f"{key}::c")
        if elements.mask is None:
            return sides
        self.masks[key] = elements.mask
        return self._behind(self._keep(elements.mask), key, (one, other), sides)

    def _behind(
        self, keep: ir.Value, key: str, values: tuple[ir.Value, ir.Value], sides: tuple[ir.Value, ir.Value]
    ) -> tuple[ir.Value, ir.Value]:
        """Both sides of a tap behind a mask, right after the last of them is there."""
        graph = self.merged.model.graph
        first, second = (masked(self.merged.model, side, keep, f"{key}::{side.name}") for side in sides)
        for node in (first, second):
            node.outputs[0].name, node.outputs[0].dtype = f"{node.name}::kept", ir.DataType.FLOAT
        places = [-1 if (made := value.producer()) is None else self.position[made] for value in values]
        insert_after(graph, sides[places.index(max(places))], (first, second))
        return first.outputs[0], second.outputs[0]

    def _keep(self, mask: Mask) -> ir.Value:
        if mask.name not in self.keep:
            self.keep[mask.name] = mask_input(self.merged.model.graph, mask.name, mask.rank, self.kind)
        return self.keep[mask.name]

    def _axes(self, elements: Elements, value: ir.Value) -> ir.Value:
        """Axes within a sample: all of them where the whole batch is reduced together."""
        rank = 0 if not elements.leads else 2 if elements.folded or value.shape is None else len(value.shape)
        return axes_of_samples(self.merged.model, rank)

    def attached(self, alone: Reducer) -> Tapped:
        """Make the taps the model's outputs, without what none of them needs."""
        model = self.merged.model
        attach(model, alone, self.alone)
        groups = []
        for name, taps in self.taps.items():
            attach(model, pair_reducers.BY_NAME[name], taps, beside=True)
            groups.append((pair_reducers.BY_NAME[name], [item.key for item in taps]))
        RemoveUnusedNodesPass()(model)
        for value in (*self.keep.values(), self.rows):
            if not value.uses():
                model.graph.inputs.remove(value)
        return Tapped(groups=groups, alone=[item.key for item in self.alone], masks=self.masks, kind=self.kind)


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


def masked(model: ir.Model, value: ir.Value, keep: ir.Value, name: str) -> ir.Node:
    """A node, in no graph yet, that sets `value` to zero where `keep` is False, or 0."""
    if keep.dtype is ir.DataType.FLOAT:
        return ir.node("Mul", [value, keep], name=name)
    return ir.node("Where", [keep, value, _zero(model.graph)], name=name)


def keep_only(model: ir.Model, value: ir.Value, keep: ir.Value) -> ir.Value:
    """`value` with zeros where `keep` is False, computed right after it."""
    node = masked(model, value, keep, f"{KEPT}::{value.name}")
    node.outputs[0].name, node.outputs[0].dtype = f"{value.name}{KEPT}", ir.DataType.FLOAT
    insert_after(model.graph, value, (node,))
    return node.outputs[0]


def _zero(graph: ir.Graph) -> ir.Value:
    name = "kept::zero"
    if name not in graph.initializers:
        graph.register_initializer(ir.val(name, const_value=ir.tensor(np.array(0, np.float32), name=name)))
    return graph.initializers[name]
