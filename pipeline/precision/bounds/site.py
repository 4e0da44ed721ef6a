"""What a rule sees of a node: its operands' bounds, the sizes of its tensors, and its constants."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.precision.bounds.bound import ANYTHING, Bound, Vector
from pipeline.precision.bounds.extents import constant_tensor

SMALL = 1 << 16
"""Constants of up to this many elements are read by position; larger ones where a rule asks for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One node.

    Attributes:
        node: The node.
        bounds: What is known of each value so far.
        axes: Largest size of each dynamic axis, by name.
        unit: Relative size of one rounding to the low format.
    """

    node: ir.Node
    bounds: Mapping[ir.Value, Bound]
    axes: Mapping[str, int]
    unit: float

    def operand(self, position: int) -> Bound:
        """Bounds of an operand; `ANYTHING` where it is absent or unknown."""
        value = self.value(position)
        return ANYTHING if value is None else self.bounds.get(value, ANYTHING)

    def operands(self) -> list[Bound]:
        """Bounds of all operands that are there."""
        return [self.bounds.get(value, ANYTHING) for value in self.node.inputs if value is not None]

    def value(self, position: int) -> ir.Value | None:
        """An operand, or None where it is absent."""
        return self.node.inputs[position] if position < len(self.node.inputs) else None

    def array(self, position: int) -> npt.NDArray[Any] | None:
        """The elements of an operand that is the same for every input, else None."""
        value = self.value(position)
        tensor = constant_tensor(value) if value is not None else None
        return None if tensor is None or _is_filled(value) else tensor.numpy()

    def numbers(self, position: int, attribute: str | None = None) -> list[int] | None:
        """The integers of a constant operand, or of an attribute in opsets that had one; None where not known."""
        if (array := self.array(position)) is not None:
            return [int(number) for number in array.reshape(-1)]
        if attribute is not None and attribute in self.node.attributes:
            return [int(number) for number in self.node.attributes[attribute].as_ints()]
        return None

    def sizes(self, position: int) -> tuple[float, ...] | None:
        """Largest sizes of an operand's axes, infinite where not known; None where its rank is not."""
        value = self.value(position)
        return None if value is None else sizes(value, self.axes)

    def last(self, position: int = 0) -> float:
        """Largest size of the last axis of an operand."""
        found = self.sizes(position)
        return math.inf if found is None else found[-1] if found else 1.0

    def row(self, position: int) -> Vector | None:
        """The row that a constant operand consists of, else None."""
        array = self.array(position)
        if array is None or not 0 < array.size <= SMALL:
            return None
        rows = array.reshape(-1, array.shape[-1] if array.ndim else 1).astype(np.float64)
        return rows[0] if bool(np.all(rows == rows[:1])) else None

    def fixed(self, position: int = 0) -> int | None:
        """Size of the last axis of an operand where it is the same for every input."""
        return _fixed(self.value(position))

    @property
    def fixed_result(self) -> int | None:
        """Likewise of the first result."""
        return _fixed(self.node.outputs[0])

    def keeps_rows(self, position: int) -> bool:
        """Whether rows and columns of the result have the length of an operand's."""
        value = self.value(position)
        before, after = (
            () if item is None or item.shape is None else tuple(item.shape) for item in (value, self.node.outputs[0])
        )
        pairs = list(zip(reversed(before), reversed(after), strict=False))[:2]
        return len(pairs) == min(2, len(after)) > 0 and all(_equal(one, other) for one, other in pairs)

    def axis(self, position: int = 0, default: int = -1) -> int | None:
        """The node's `axis` as a negative number: -1 is the last of an operand; None where the rank is not known."""
        found = self.sizes(position)
        axis = self.node.attributes.get_int("axis", default)
        return axis if axis < 0 else None if found is None else axis - len(found)


def sizes(value: ir.Value, axes: Mapping[str, int]) -> tuple[float, ...] | None:
    """Largest sizes of a value's axes; None where its rank is not known."""
    if value.shape is None:
        return None
    return tuple(
        float(dim) if isinstance(dim, int) else float(axes.get(str(dim.value), math.inf)) for dim in value.shape
    )


def of_constant(array: npt.NDArray[Any]) -> Bound:
    """Bounds of a small constant, by position of its last axis."""
    rows = array.reshape(-1, array.shape[-1] if array.ndim else 1).astype(np.float64)
    if rows.size == 0:
        return ANYTHING
    norms = np.sqrt(np.square(rows).sum(axis=1))
    return Bound(
        low=rows.min(axis=0),
        high=rows.max(axis=0),
        norm=float(norms.max()),
        total=float(np.abs(rows).sum(axis=1).max()),
    )


def _fixed(value: ir.Value | None) -> int | None:
    if value is None or value.shape is None:
        return None
    last = value.shape[-1] if len(value.shape) else 1
    return last if isinstance(last, int) else None


def _equal(one: int | ir.SymbolicDim, other: int | ir.SymbolicDim) -> bool:
    if isinstance(one, int) or isinstance(other, int):
        return one == other
    return one.value is not None and one.value == other.value


def _is_filled(value: ir.Value | None) -> bool:
    """Whether it is a ConstantOfShape, whose tensor holds its fill only."""
    producer = value.producer() if value is not None else None
    return producer is not None and producer.op_type == "ConstantOfShape"
