"""Masks of attention scores that the low format cannot hold, and the finite numbers that act the same there.

A masked score is the score plus a constant L such as -3.4e38, and all that comes of it is a Softmax. In a format of
fp16's range L is minus infinity, and a row without a valid key becomes NaN. So wherever such a mask enters a narrow
format it is held at `ENTERS` = -49152 from below, and the sum with the scores at `MASKED` = -32768. For scores of at
most S = 16352 in magnitude, mask values between included:

- Nothing overflows: 49152 + 16352 = 65504, fp16's largest number (bf16's range is larger).
- Every masked sum is exactly `MASKED`: it is at most -49152 + 16352 = -32800, and rounding keeps order. Every other
  sum is at least -16352, and is left alone.
- Masked probabilities are exactly 0, as before: a masked score lies at least 32768 - 16352 = 16416 under any other of
  its row, and in fp32 exp is 0 from 104 on.
- A row without a valid key is uniform, as before: in fp32 every score is absorbed by L, here every one is `MASKED`.
  That holds where L absorbs S, so S is at most 2^-26 of |L|. No power of two alone does this in fp16: -32768 absorbs
  scores up to 8 only, and real ones go beyond 100.

Scores that are overwritten with L where they are masked are overwritten with `MASKED`. The mask itself stays fp32, and
so does everything that fp32 nodes read: only narrow copies are held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from pipeline.precision import attention
from pipeline.precision.bounds import Bound
from pipeline.precision.bounds.extents import Extent, constant_tensor
from pipeline.precision.reach import Reach

ENTERS = -49152.0
"""What a mask is held at, from below, where it is added to scores in a narrow format."""

MASKED = -32768.0
"""What masked scores are in a narrow format."""

LARGEST_SCORE = 16352.0
"""Largest magnitude of scores for which all of the above holds."""

COUNTS = -16384.0
"""Scores up to here are masked, in the fp32 graph and in a narrow format."""

ABSORBS = 2.0**-26
"""Of a number's magnitude: what is added to it in fp32 and changes nothing."""

_MOVES = frozenset({"Expand", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a narrow format holds of a tensor instead of its huge negative elements.

    Attributes:
        floor: Smallest element.
        magnitude: Largest magnitude on the way there: of the sum before it is held.
        proven: Whether that rests on bounds for every input; else on samples, with the margin.
    """

    floor: float
    magnitude: float
    proven: bool


@dataclass(slots=True, kw_only=True)
class Masks:
    """Masked scores of a graph.

    Attributes:
        held: Tensors that a narrow format can hold, by the node that adds or reads them on the way to a Softmax.
        reasons: For those nodes, what is done and what it rests on.
        refused: Why nodes on the way to a Softmax cannot have their mask in a narrow format.
    """

    held: dict[ir.Node, dict[ir.Value, Held]] = field(default_factory=dict)
    reasons: dict[ir.Node, str] = field(default_factory=dict)
    refused: dict[ir.Node, str] = field(default_factory=dict)

    def of(self, node: ir.Node, value: ir.Value) -> Held | None:
        """How `value` is held where `node` reads or makes it; None where it is not."""
        return self.held.get(node, {}).get(value)


def find(
    graph: ir.Graph,
    extents: Mapping[ir.Value, Extent],
    bounds: Mapping[ir.Value, Bound],
    reaches: Mapping[ir.Value, Reach],
    margin: float,
) -> Masks:
    """Masked scores of the main graph.

    Args:
        graph: The fp32 graph.
        extents: What its tensors hold as far as it is known.
        bounds: What they hold for any input.
        reaches: Tensors that a constant may push beyond the low format.
        margin: Factor by which unseen data may exceed what was observed.
    """
    walk = _Walk(extents=extents, bounds=bounds, reaches=reaches, margin=margin)
    found = Masks()
    for softmax in graph:
        if softmax.op_type == "Softmax" and softmax.inputs[0] in reaches:
            path = _path(softmax)
            try:
                walk.hold(path, found)
            except _Refused as refusal:
                found.refused |= dict.fromkeys((node for node, _ in path), f"not held in range: {refusal}")
    return found


def _path(softmax: ir.Node) -> tuple[tuple[ir.Node, ir.Value], ...]:
    """Nodes from behind the product to the Softmax, each with the operand that the scores are; empty without a product.

    Nothing else reads what they make (see `attention.score_path`).
    """
    product, between = attention.score_path(softmax)
    if product is None:
        return ()
    scores, found = product.outputs[0], []
    for node in (*between, softmax):
        found.append((node, scores))
        scores = node.outputs[0]
    return tuple(found)


class _Refused(Exception):
    """What stands in the way, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Levels:
    """What a mask holds: numbers between two ends, and perhaps one huge negative one.

    Attributes:
        low: Smallest of the former; above `high` where there are none.
        high: Largest of them.
        deep: The huge one, or None.
        proven: Whether the ends rest on bounds.
    """

    low: float = np.inf
    high: float = -np.inf
    deep: float | None = None
    proven: bool = True

    @property
    def magnitude(self) -> float:
        return max(abs(self.low), abs(self.high)) if self.low <= self.high else 0.0

    def union(self, other: _Levels) -> _Levels:
        if None not in (self.deep, other.deep) and self.deep != other.deep:
            raise _Refused(f"masks of {self.deep:.3g} and {other.deep:.3g} meet, and rows of both tell them apart")
        return _Levels(
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            deep=other.deep if self.deep is None else self.deep,
            proven=self.proven and other.proven,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    extents: Mapping[ir.Value, Extent]
    bounds: Mapping[ir.Value, Bound]
    reaches: Mapping[ir.Value, Reach]
    margin: float

    def hold(self, path: tuple[tuple[ir.Node, ir.Value], ...], found: Masks) -> None:
        """Add what a path holds to `found`.

        Raises:
            _Refused: It cannot be held.
        """
        held: dict[ir.Node, dict[ir.Value, Held]] = {}
        reason, after = "", Held(floor=MASKED, magnitude=-MASKED, proven=True)
        for node, scores in path:
            if scores.is_graph_output():
                raise _Refused(f"{scores.name} is an output of the graph")
            others = [value for value in node.inputs if value is not None and value is not scores]
            hot = [value for value in others if value in self.reaches]
            if not reason and not hot and scores not in self.reaches:
                continue
            if not reason:
                mask, made = self._enters(node, scores, hot)
                reason, held[node] = self._reason(made), {mask: made, node.outputs[0]: _result(made)}
                after = Held(floor=MASKED, magnitude=-MASKED, proven=made.proven)
            elif hot or not (node.op_type in _MOVES or node.op_type == "Softmax"):
                raise _Refused(f"{node.op_type} {node.name} stands between the mask and its Softmax")
            else:
                results = {} if node.op_type == "Softmax" else {node.outputs[0]: after}
                held[node] = {scores: after, **results}
        found.held |= held
        found.reasons |= dict.fromkeys(held, reason)

    def _enters(self, node: ir.Node, scores: ir.Value, hot: list[ir.Value]) -> tuple[ir.Value, Held]:
        """The mask that `node` puts on `scores`, and how a narrow format holds it."""
        if scores in self.reaches or len(hot) != 1 or node.op_type not in ("Add", "Where"):
            raise _Refused(f"{node.op_type} {node.name} is neither an Add nor a Where of scores and a mask")
        size, proven = self._size(scores)
        mask = self._levels(hot[0])
        if mask.deep is None:
            raise _Refused(f"{hot[0].name} holds no huge negative number")
        size, proven = size + mask.magnitude, proven and mask.proven
        if not size <= LARGEST_SCORE:
            raise _Refused(f"{scores.name} may reach {size:.3g}, and {LARGEST_SCORE:g} is the most beside a mask")
        if not size <= ABSORBS * -mask.deep:
            raise _Refused(f"{mask.deep:.3g} does not absorb scores of {size:.3g}, so rows without a valid key differ")
        fills = node.op_type == "Where"
        if fills and constant_tensor(hot[0]) is None:
            raise _Refused(f"Where {node.name} takes masked scores from {hot[0].name}, which is no constant")
        floor = MASKED if fills else ENTERS
        return hot[0], Held(floor=floor, magnitude=max(-floor, size, 0.0 if fills else size - ENTERS), proven=proven)

    def _reason(self, made: Held) -> str:
        how = "bounds" if made.proven else "samples, with the margin,"
        return (
            f"masked scores are held at {MASKED:g}, which gives the same probabilities: {how} keep the others in range"
        )

    def _size(self, value: ir.Value) -> tuple[float, bool]:
        """Largest magnitude of a tensor, and whether it is proven."""
        bound, extent = self.bounds.get(value), self.extents.get(value)
        if bound is not None and bound.magnitude <= LARGEST_SCORE:
            return bound.magnitude, True
        if extent is None or extent.nonfinite:
            raise _Refused(f"nothing bounds {value.name}")
        return extent.magnitude * self.margin, False

    def _levels(self, value: ir.Value) -> _Levels:
        """What a mask holds."""
        tensor = constant_tensor(value)
        if tensor is not None:
            return _of_array(value, tensor.numpy())
        node = value.producer()
        if value.is_graph_input() or node is None:
            raise _Refused(f"{value.name} is given to the graph")
        if value not in self.reaches:
            size, proven = self._size(value)
            return _Levels(low=-size, high=size, proven=proven)
        operands = [item for item in node.inputs if item is not None and item.dtype is ir.DataType.FLOAT]
        if node.op_type in _MOVES or node.op_type in ("Concat", "Where"):
            return _union(self._levels(item) for item in operands)
        if node.op_type == "Mul":
            return self._product(node, operands)
        raise _Refused(f"{node.op_type} {node.name} takes part in the mask")

    def _product(self, node: ir.Node, operands: list[ir.Value]) -> _Levels:
        """A huge number times what is 0 or 1."""
        for factor, other in (operands, operands[::-1]):
            if self._is_switch(factor) and other in self.reaches:
                return _union((self._levels(other), _Levels(low=0.0, high=0.0)))
        raise _Refused(f"Mul {node.name} has no factor that can only be 0 or 1")

    def _is_switch(self, value: ir.Value | None) -> bool:
        """Whether a tensor can only hold 0 and 1: a boolean, a mask input, or one minus such."""
        if value is None or value.dtype is ir.DataType.BOOL:
            return value is not None
        if value.dtype is not None and value.dtype.is_integer():
            bound = self.bounds.get(value)
            return bound is not None and float(bound.low.min()) > -1.0 and float(bound.high.max()) < 2.0
        node = value.producer()
        if node is None:
            return False
        if node.op_type == "Cast" or node.op_type in _MOVES:
            return self._is_switch(node.inputs[0])
        return node.op_type == "Sub" and _is_one(node.inputs[0]) and self._is_switch(node.inputs[1])


def _is_one(value: ir.Value | None) -> bool:
    tensor = None if value is None else constant_tensor(value)
    return tensor is not None and bool((tensor.numpy() == 1).all())


def _result(mask: Held) -> Held:
    return Held(floor=MASKED, magnitude=mask.magnitude, proven=mask.proven)


def _union(levels: Iterator[_Levels] | tuple[_Levels, ...]) -> _Levels:
    found = _Levels()
    for item in levels:
        found = found.union(item)
    return found


def _of_array(value: ir.Value, array: np.ndarray) -> _Levels:
    """The levels of a constant."""
    elements = np.unique(array.reshape(-1)).astype(np.float64)
    if not np.isfinite(elements).all():
        raise _Refused(
            f"{value.name} holds numbers that are not finite, and rows without a valid key become NaN by them"
        )
    deep, others = elements[elements < -LARGEST_SCORE], elements[elements >= -LARGEST_SCORE]
    if deep.size > 1:
        raise _Refused(f"{value.name} holds several huge numbers, {deep[0]:.3g} and {deep[-1]:.3g} among them")
    if not others.size:
        return _Levels(deep=float(deep[0]) if deep.size else None)
    return _Levels(low=float(others[0]), high=float(others[-1]), deep=float(deep[0]) if deep.size else None)
