"""Whether a mask can be minus infinity, from the graph alone."""

from __future__ import annotations

import onnx_ir as ir

from pipeline.core.formats import Format
from pipeline.precision.bounds import intervals
from pipeline.precision.bounds.intervals import ANYTHING, Interval

LOWEST = -Format.FP32.limits.largest
"""The lowest finite number of fp32, which torch writes for "masked"."""

READABLE = 1 << 24
"""Constants of at most this many elements are searched for their extremes; larger ones may hold anything."""

COMPUTED: Interval = (-1e30, 1e30)
"""What a layer computes: taken to be finite, as the reference is."""

TRUTH: Interval = (0.0, 1.0)

DEPTH = 64
"""Nodes between a mask and what it is made of; a mask that is deeper may hold anything."""


def may_be_minus_infinity(value: ir.Value) -> bool:
    """Whether an element of `value` can be -Inf; graph inputs can hold anything."""
    return not lower_bound(value) >= LOWEST


def lower_bound(value: ir.Value) -> float:
    """A number that no element of `value` is below; it may be lower than any fp32 number."""
    return float(_bounds(value, DEPTH, {})[0])


def _bounds(value: ir.Value, depth: int, known: dict[ir.Value, Interval]) -> Interval:
    if value not in known:
        known[value] = _of_value(value, depth, known)
    return known[value]


def _of_value(value: ir.Value, depth: int, known: dict[ir.Value, Interval]) -> Interval:
    if value.dtype == ir.DataType.BOOL:
        return TRUTH
    if depth == 0 or value.is_graph_input():
        return ANYTHING
    if value.is_initializer() and value.const_value is not None:
        return _of_constant(value.const_value)
    node = value.producer()
    if node is None or not intervals.follows(node.op_type):
        return COMPUTED
    operands = [operand for operand in _data(node) if operand is not None]
    return intervals.result(node.op_type, [_bounds(operand, depth - 1, known) for operand in operands])


def _data(node: ir.Node) -> tuple[ir.Value | None, ...]:
    """The operands whose elements can become elements of the result, not the indices, shapes and conditions."""
    match node.op_type:
        case "Where":
            return tuple(node.inputs[1:])
        case "Add" | "Clip" | "Concat" | "Div" | "Max" | "Min" | "Mul" | "Sub" | "Sum":
            return tuple(node.inputs)
        case "ScatterElements" | "ScatterND":
            return (node.inputs[0], node.inputs[2])
        case _:
            return tuple(node.inputs[:1])


def _of_constant(tensor: ir.TensorProtocol) -> Interval:
    if tensor.size > READABLE:
        return ANYTHING
    if tensor.size == 0:
        return COMPUTED
    array = tensor.numpy()
    return float(array.min()), float(array.max())
