"""Which nodes break layers, in which order to look at them, and what happened there in words.

A bad layer is a cause where its node breaks it by itself: fed the reference's tensors it makes NaN or infinities, or at
least half of the layer's error power; or where nothing bad reaches it, so that it made too much of small errors. Every
other bad layer inherits. Neighbours that all make infinities are one cause.

Ranked: what makes NaN or infinities first, in graph order, then by the error power that a node adds. A mask whose
-3e38 becomes -inf comes last: a Softmax makes the same zeros of both, unless it turns a row of them into NaN.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from pipeline.analysis.causes import words
from pipeline.analysis.causes.neighbourhood import Neighbourhood
from pipeline.core.artifacts import Cause, Kind, Layer, TensorRange
from pipeline.core.formats import Format
from pipeline.precision.attention import is_elementwise

HALF = 0.5
"""Share of a layer's error power that makes its own node the cause."""


@dataclass(slots=True, kw_only=True)
class _Group:
    """Layers that are one cause, in graph order, and the bad layers that inherit from it."""

    layers: list[Layer]
    spoilt: int = 0


@dataclass(slots=True, kw_only=True)
class Blame:
    """Who breaks what in one comparison.

    Attributes:
        around: The reference and the formats of the mixed graph.
        layers: By tensor.
        low: The low format.
        groups: Causes, in graph order.
        root: For every bad layer, the cause it is or inherits from.
    """

    around: Neighbourhood
    layers: dict[str, Layer]
    low: Format
    groups: list[_Group] = field(default_factory=list)
    root: dict[str, _Group] = field(default_factory=dict)

    def suspects(self) -> list[str]:
        """Tensors whose ranges explain the causes: theirs, and what they read."""
        heads = [layer.tensor for group in self.groups for layer in group.layers]
        return list(dict.fromkeys(name for head in heads for name in (head, *self.around.operands(head))))


def find(reference: ir.Model, mixed: ir.Model, layers: Iterable[Layer], low: Format) -> Blame:
    """Part the bad ones of `layers` into causes and what inherits from them."""
    blame = Blame(around=Neighbourhood(reference, mixed), layers={layer.tensor: layer for layer in layers}, low=low)
    for layer in blame.layers.values():
        if not layer.bad:
            continue
        upstream = [blame.root[name] for name in blame.around.operands(layer.tensor) if name in blame.root]
        if _own(layer) or not upstream:
            blame.root[layer.tensor] = _join(blame, layer)
        else:
            blame.root[layer.tensor] = min(upstream, key=lambda group: group.layers[0].depth)
            blame.root[layer.tensor].spoilt += 1
    return blame


def told(blame: Blame, ranges: Mapping[str, TensorRange]) -> tuple[tuple[Layer, ...], tuple[Cause, ...]]:
    """The layers, bad ones with what happened in words, and the causes, the first to look at first.

    Args:
        blame: From `find`.
        ranges: Of the reference's tensors that `Blame.suspects` names.
    """
    causes = [(_rank(blame, group, ranges), _cause(blame, group, ranges)) for group in blame.groups]
    ordered = tuple(cause for _, cause in sorted(causes, key=lambda pair: pair[0]))
    return tuple(_with_words(blame, layer, ranges) for layer in blame.layers.values()), ordered


def _own(layer: Layer) -> bool:
    """Whether the layer's node breaks it by itself."""
    if layer.injected is None or layer.stats is None:
        return False
    if layer.injected.nonfinite or layer.stats.mismatched_nonfinite:
        return layer.injected.nonfinite > 0
    return layer.injected.relative_l2**2 >= HALF * layer.stats.relative_l2**2


def _join(blame: Blame, layer: Layer) -> _Group:
    """The group of a neighbour that makes infinities too, or a new one."""
    if layer.injected is not None and layer.injected.nonfinite:
        for name in blame.around.operands(layer.tensor):
            before, group = blame.layers.get(name), blame.root.get(name)
            if group is not None and before in group.layers and before.injected and before.injected.nonfinite:
                group.layers.append(layer)
                return group
    group = _Group(layers=[layer])
    blame.groups.append(group)
    return group


def _rank(blame: Blame, group: _Group, ranges: Mapping[str, TensorRange]) -> tuple[bool, bool, float, int]:
    first = group.layers[0]
    broken = _makes_nonfinite(first)
    power = first.injected.relative_l2 if first.injected is not None else 0.0
    return _harmless_mask(blame, first, ranges), not broken, 0.0 if broken else -power, first.depth


def _makes_nonfinite(layer: Layer) -> bool:
    if layer.injected is not None and layer.injected.nonfinite:
        return True
    return layer.stats is not None and layer.stats.mismatched_nonfinite > 0


def _cause(blame: Blame, group: _Group, ranges: Mapping[str, TensorRange]) -> Cause:
    first, around = group.layers[0], blame.around
    kind, why = _kind(blame, first, ranges)
    nodes = [layer.node for layer in group.layers]
    overflowing = [layer.tensor for layer in group.layers if kind is Kind.OVERFLOW and _overflows(ranges, layer.tensor)]
    return Cause(
        nodes=tuple(nodes),
        tensor=first.tensor,
        op=first.op,
        module=first.module,
        part=around.part(nodes),
        kind=kind,
        why=why,
        mend=_mend(around, kind, nodes, overflowing),
        injected=first.injected,
        spoilt=group.spoilt,
    )


def _mend(around: Neighbourhood, kind: Kind, nodes: Sequence[str], overflowing: Collection[str]) -> str:
    ranker = around.ranker(nodes[0]) if kind is Kind.AMPLIFICATION else None
    if ranker is not None:
        return words.rank_exactly(ranker)
    inherits = kind in (Kind.AMPLIFICATION, Kind.CANCELLATION)
    together = around.closure([*nodes, *(around.makers(nodes) if inherits else ())], overflowing)
    return words.mend(kind, together, around.part(nodes), around.new_casts(together), around.attention(together))


def _with_words(blame: Blame, layer: Layer, ranges: Mapping[str, TensorRange]) -> Layer:
    if not layer.bad:
        return layer
    group = blame.root[layer.tensor]
    if layer in group.layers:
        return replace(layer, why=_kind(blame, layer, ranges)[1])
    operands = [blame.layers[name] for name in blame.around.operands(layer.tensor) if name in blame.layers]
    return replace(layer, why=words.inherited(layer, operands, group.layers[0]))


def _kind(blame: Blame, layer: Layer, ranges: Mapping[str, TensorRange]) -> tuple[Kind, str]:
    operands = blame.around.operands(layer.tensor)
    seen = ranges.get(layer.tensor)
    if _harmless_mask(blame, layer, ranges) and seen is not None:
        return Kind.MASK, words.mask(layer, seen)
    if _makes_nonfinite(layer):
        for name in (layer.tensor, *operands):
            if name in ranges and ranges[name].overflow:
                return Kind.OVERFLOW, words.overflow(layer, name, ranges[name], blame.low)
        return Kind.NONFINITE, words.nonfinite(layer, operands)
    if seen is not None and seen.lost + seen.subnormal > 0 and _own(layer):
        return Kind.UNDERFLOW, words.underflow(layer, seen)
    read = {name: blame.layers[name] for name in operands if name in blame.layers}
    if layer.op in words.DIFFERENCES and seen is not None:
        largest = max((ranges[name].magnitude for name in operands if name in ranges), default=0.0)
        if largest >= words.MUCH * seen.magnitude:
            return Kind.CANCELLATION, words.cancelled(layer, largest, seen.magnitude)
    before = max((item.stats.relative_l2 for item in read.values() if item.stats is not None), default=0.0)
    after = layer.stats.relative_l2 if layer.stats is not None else math.inf
    if not _own(layer) and after >= words.GROWTH * before > 0:
        if (ranker := blame.around.ranker(layer.node)) is not None:
            return Kind.AMPLIFICATION, words.picked(ranker, after / before)
        return Kind.AMPLIFICATION, words.amplified(layer, blame.around.part([layer.node]), after / before)
    return Kind.ROUNDING, words.rounding(layer)


def _overflows(ranges: Mapping[str, TensorRange], name: str) -> bool:
    return name in ranges and ranges[name].overflow > 0


def _harmless_mask(blame: Blame, layer: Layer, ranges: Mapping[str, TensorRange]) -> bool:
    """Whether all that overflows is far below zero and only reaches Softmaxes that make no NaN of it."""
    seen = ranges.get(layer.tensor)
    if seen is None or not seen.overflow or not seen.high <= blame.low.limits.largest:
        return False
    softmaxes = _reached(blame.around.value(layer.tensor))
    return softmaxes is not None and all(not _makes_nan(blame, node) for node in softmaxes)


def _reached(value: ir.Value) -> list[ir.Node] | None:
    """The Softmaxes that read `value` through elementwise nodes; None where anything else reads it."""
    waiting, seen, found = [value], {value}, []
    while waiting:
        current = waiting.pop()
        if current.is_graph_output():
            return None
        for node, _ in current.uses():
            if node.op_type == "Softmax":
                found.append(node)
            elif not is_elementwise(node):
                return None
            else:
                waiting += [out for out in node.outputs if out not in seen]
                seen.update(node.outputs)
    return found or None


def _makes_nan(blame: Blame, softmax: ir.Node) -> bool:
    after = blame.layers.get(str(softmax.outputs[0].name))
    before = blame.layers.get(str(softmax.inputs[0].name)) if softmax.inputs[0] is not None else None
    nan_before = before is not None and before.stats is not None and before.stats.nan_candidate > 0
    return after is not None and after.stats is not None and after.stats.nan_candidate > 0 and not nan_before
