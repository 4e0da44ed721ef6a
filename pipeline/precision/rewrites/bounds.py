"""Bounds that a float tensor cannot leave, from the graph alone: whether a mask can be minus infinity."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pipeline.core.formats import Format
from pipeline.precision.rewrites.edits import producer

LOWEST = -Format.FP32.limits.largest
"""The lowest finite number of fp32, which torch writes for "masked"."""

READABLE = 1 << 24
"""Constants of at most this many elements are searched for their extremes."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Closed interval; either end may be infinite."""

    low: float
    high: float

    @property
    def may_be_minus_infinity(self) -> bool:
        """Whether fp32 could hold -Inf."""
        return not self.low >= LOWEST


ANYTHING = Bounds(-math.inf, math.inf)
COMPUTED = Bounds(-1e30, 1e30)
"""What a layer computes: taken to be finite, as the reference is."""

DEPTH = 64


def bounds(value: ir.Value | None, depth: int = DEPTH) -> Bounds:
    """An interval that holds every element of `value`; graph inputs may hold anything."""
    if value is None or depth == 0 or value.is_graph_input():
        return ANYTHING
    if value.is_initializer() and value.const_value is not None:
        return _of_constant(value.const_value)
    node = producer(value)
    if node is None:
        return COMPUTED
    rule = _RULES.get(node.op_type)
    return COMPUTED if rule is None else rule(node, depth - 1)


def _of_constant(tensor: ir.TensorProtocol) -> Bounds:
    if tensor.size > READABLE:
        return COMPUTED
    array = tensor.numpy()
    if array.size == 0 or np.isnan(array.astype(np.float64)).any():
        return ANYTHING
    return Bounds(float(array.min()), float(array.max()))


def _first(node: ir.Node, depth: int) -> Bounds:
    return bounds(node.inputs[0], depth)


def _union(*parts: Bounds) -> Bounds:
    return Bounds(min(part.low for part in parts), max(part.high for part in parts))


def _all(node: ir.Node, depth: int) -> Bounds:
    return _union(*(bounds(value, depth) for value in node.inputs))


def _where(node: ir.Node, depth: int) -> Bounds:
    return _union(bounds(node.inputs[1], depth), bounds(node.inputs[2], depth))


def _corners(operation: Callable[[float, float], float]) -> Callable[[ir.Node, int], Bounds]:
    def rule(node: ir.Node, depth: int) -> Bounds:
        left, right = (bounds(value, depth) for value in node.inputs)
        corners = [operation(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
        if any(math.isnan(corner) for corner in corners):
            return ANYTHING
        return Bounds(min(corners), max(corners))

    return rule


def _cast(node: ir.Node, depth: int) -> Bounds:
    source = node.inputs[0]
    if source is not None and source.dtype == ir.DataType.BOOL:
        return Bounds(0.0, 1.0)
    return bounds(source, depth)


def _negated(node: ir.Node, depth: int) -> Bounds:
    source = bounds(node.inputs[0], depth)
    return Bounds(-source.high, -source.low)


def _trilu(node: ir.Node, depth: int) -> Bounds:
    return _union(bounds(node.inputs[0], depth), Bounds(0.0, 0.0))


_RULES: dict[str, Callable[[ir.Node, int], Bounds]] = {
    "Where": _where,
    "Add": _corners(lambda a, b: a + b),
    "Sub": _corners(lambda a, b: a - b),
    "Mul": _corners(lambda a, b: a * b),
    "Max": _corners(max),
    "Min": _corners(min),
    "Cast": _cast,
    "Neg": _negated,
    "Trilu": _trilu,
    "Concat": _all,
    **dict.fromkeys(
        ("Expand", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Tile", "Transpose", "Unsqueeze"), _first
    ),
}
