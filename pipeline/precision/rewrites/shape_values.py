"""What an integer tensor of shape arithmetic holds, as sizes that may be symbolic."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.precision.rewrites.edits import integers, producer


@dataclass(frozen=True, slots=True)
class Axis:
    """The size of one axis of one tensor, where neither number nor name of it is known."""

    tensor: ir.Value
    index: int


Size = int | str | Axis
"""A number, the name of a dynamic axis, or an axis of a tensor. Equal sizes are equal at run time."""


def sizes(value: ir.Value) -> tuple[Size, ...] | None:
    """The shape of `value`, one size an axis, or None where its rank is not known."""
    if value.shape is None:
        return None
    return tuple(_size(value, index, dim) for index, dim in enumerate(value.shape))


def evaluate(value: ir.Value | None) -> tuple[Size, ...] | None:
    """The elements of an integer vector or scalar, or None where it is not shape arithmetic."""
    known = integers(value)
    if known is not None:
        return known
    node = producer(value, *_RULES)
    return None if node is None else _RULES[node.op_type](node)


def _size(value: ir.Value, index: int, dim: int | ir.SymbolicDim) -> Size:
    if isinstance(dim, int):
        return dim
    return dim.value if isinstance(dim.value, str) else Axis(value, index)


def _shape(node: ir.Node) -> tuple[Size, ...] | None:
    shape = None if node.inputs[0] is None else sizes(node.inputs[0])
    start, end = node.attributes.get("start"), node.attributes.get("end")
    first = 0 if start is None else start.as_int()
    last = None if end is None else end.as_int()
    return None if shape is None else shape[first:last]


def _count(node: ir.Node) -> tuple[Size, ...] | None:
    shape = None if node.inputs[0] is None else sizes(node.inputs[0])
    if shape is None or not all(isinstance(size, int) for size in shape):
        return None
    return (math.prod(size for size in shape if isinstance(size, int)),)


def _slice(node: ir.Node) -> tuple[Size, ...] | None:
    data = evaluate(node.inputs[0])
    bounds = [integers(value) for value in node.inputs[1:]]
    if data is None or len(bounds) < 2 or any(bound is None or len(bound) != 1 for bound in bounds):
        return None
    start, end, *rest = (bound[0] for bound in bounds if bound is not None)
    step = rest[1] if len(rest) == 2 else 1
    return data[start:end] if step == 1 else None


def _gather(node: ir.Node) -> tuple[Size, ...] | None:
    data, indices = evaluate(node.inputs[0]), integers(node.inputs[1])
    if data is None or indices is None or not all(-len(data) <= index < len(data) for index in indices):
        return None
    return tuple(data[index] for index in indices)


def _concat(node: ir.Node) -> tuple[Size, ...] | None:
    parts: list[Size] = []
    for value in node.inputs:
        part = evaluate(value)
        if part is None:
            return None
        parts += part
    return tuple(parts)


def _first(node: ir.Node) -> tuple[Size, ...] | None:
    return evaluate(node.inputs[0])


_RULES: dict[str, Callable[[ir.Node], tuple[Size, ...] | None]] = {
    "Shape": _shape,
    "Size": _count,
    "Slice": _slice,
    "Gather": _gather,
    "Concat": _concat,
    "Squeeze": _first,
    "Unsqueeze": _first,
    "Identity": _first,
    "Cast": _first,
}
