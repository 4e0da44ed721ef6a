"""What large constants may do to the tensors behind them, whatever calibration happened to see.

A mask of -3.4e38 that no calibration sample applied leaves no trace in the observed ranges. So every constant near or
beyond the low format's range is followed forward as an interval, together with the observed ranges of what it meets,
until something bounds it: a Softmax, a Clip, a comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.precision.bounds import intervals
from pipeline.precision.bounds.extents import Extent
from pipeline.precision.bounds.intervals import ANYTHING, Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Values that a constant may push a tensor to.

    Attributes:
        low: Smallest value possible.
        high: Largest value possible.
        origin: The constant that it comes from.
        constant: Largest magnitude in `origin`.
    """

    low: float
    high: float
    origin: str
    constant: float

    @property
    def magnitude(self) -> float:
        """Largest magnitude possible."""
        return max(abs(self.low), abs(self.high))


def of_graph(
    graph: ir.Graph, extents: Mapping[ir.Value, Extent], *, largest: float, margin: float
) -> dict[ir.Value, Reach]:
    """Tensors that constants may push near or beyond the format's range, those constants included.

    Args:
        graph: The fp32 graph.
        extents: What its tensors hold as far as it is known.
        largest: Largest number of the format.
        margin: Factor by which unseen data may exceed what was observed.
    """
    walk = _Walk(extents=extents, largest=largest, margin=margin, reaches={})
    for value, extent in extents.items():
        if extent.constant and not extent.magnitude <= walk.usable:
            walk.start(value, extent)
    for node in graph:
        walk.visit(node)
    return walk.reaches


@dataclass(slots=True, kw_only=True)
class _Walk:
    extents: Mapping[ir.Value, Extent]
    largest: float
    margin: float
    reaches: dict[ir.Value, Reach]

    @property
    def usable(self) -> float:
        return self.largest / self.margin

    def start(self, value: ir.Value, extent: Extent) -> None:
        low, high = (extent.low, extent.high) if extent.low <= extent.high else ANYTHING
        magnitude = max(abs(low), abs(high))
        self.reaches[value] = Reach(low=low, high=high, origin=str(value.name), constant=magnitude)

    def visit(self, node: ir.Node) -> None:
        hot = [self.reaches[value] for value in node.inputs if value is not None and value in self.reaches]
        if not hot or node.op_type in intervals.BOUNDING or self._told_by_calibration(node):
            return
        low, high = intervals.result(node.op_type, [self._interval(value, node) for value in node.inputs])
        source = max(hot, key=lambda reach: reach.magnitude)
        if not max(abs(low), abs(high)) <= self.usable:
            reach = Reach(low=low, high=high, origin=source.origin, constant=source.constant)
            for value in node.outputs:
                if value.dtype is ir.DataType.FLOAT:
                    self.reaches.setdefault(value, reach)

    def _told_by_calibration(self, node: ir.Node) -> bool:
        """Whether the observed range of `node`'s results already shows what its large operands do.

        A weight always takes part, and so does what was seen at its largest. Only what calibration may have left
        unselected, or multiplied by zero, has to be followed.
        """
        if intervals.follows(node.op_type):
            return False
        return all(self._is_exercised(value) for value in node.inputs if value is not None and value in self.reaches)

    def _is_exercised(self, value: ir.Value) -> bool:
        extent = self.extents.get(value)
        if extent is None:
            return False
        return extent.constant or self.reaches[value].magnitude <= self.largest or extent.magnitude > self.largest

    def _interval(self, value: ir.Value | None, node: ir.Node) -> Interval | None:
        """What `value` may hold as an operand of `node`; None where it is absent or not float."""
        if value is None or value.dtype is not ir.DataType.FLOAT:
            return None
        if value in self.reaches:
            return self.reaches[value].low, self.reaches[value].high
        extent = self.extents.get(value)
        if extent is None:
            return ANYTHING
        if extent.constant:
            return extent.low, extent.high
        return self._observed(extent, is_factor=node.op_type == "Mul")

    def _observed(self, extent: Extent, *, is_factor: bool) -> Interval:
        low, high = min(extent.low * self.margin, extent.low), max(extent.high * self.margin, extent.high)
        # A factor that was always zero, such as 1 - mask where nothing was padded, need not stay so.
        return (min(low, -1.0), max(high, 1.0)) if is_factor else (low, high)
