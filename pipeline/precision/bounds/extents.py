"""What each float tensor may hold: constants as they are, activations as they were observed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import ActivationRanges, TensorRange
from pipeline.core.formats import Format
from pipeline.precision import typed_attributes

CHUNK = 1 << 16
"""Elements looked at at once: few enough to stay in a processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Values of one tensor.

    Attributes:
        low: Smallest value; -inf where a constant holds it.
        high: Largest value; inf where a constant holds it.
        nonfinite: Elements that were NaN or infinite.
        lost_share: Share of the elements that are nonzero and would round to zero in the low format.
        constant: Whether it is the same for every input.
    """

    low: float
    high: float
    nonfinite: int = 0
    lost_share: float = 0.0
    constant: bool = False

    @property
    def magnitude(self) -> float:
        """Largest magnitude; NaN where a constant holds NaN."""
        return max(abs(self.low), abs(self.high)) if self.low <= self.high else float("nan")


def of_constant(tensor: ir.TensorProtocol, low: Format) -> Extent:
    """Extent of a stored fp32 tensor; NaN in it makes both ends NaN."""
    values = tensor.numpy().reshape(-1)
    if values.size == 0:
        return Extent(low=0.0, high=0.0, constant=True)
    ends, lost, nonfinite = (np.float32(np.inf), np.float32(-np.inf)), 0, 0
    for start in range(0, values.size, CHUNK):
        chunk = values[start : start + CHUNK]
        smallest, largest = chunk.min(), chunk.max()
        ends = np.minimum(ends[0], smallest), np.maximum(ends[1], largest)
        magnitude = np.abs(chunk)
        if flushed := int(np.count_nonzero(magnitude <= low.limits.flush_to_zero)):
            lost += flushed - int(np.count_nonzero(magnitude == 0))
        if not (np.isfinite(smallest) and np.isfinite(largest)):
            nonfinite += chunk.size - int(np.count_nonzero(magnitude <= np.finfo(np.float32).max))
    return Extent(
        low=float(ends[0]), high=float(ends[1]), nonfinite=nonfinite, lost_share=lost / values.size, constant=True
    )


def of_range(observed: TensorRange) -> Extent:
    """Extent of a tensor that was observed."""
    return Extent(
        low=observed.low,
        high=observed.high,
        nonfinite=observed.nonfinite,
        lost_share=observed.lost / observed.elements,
    )


def constant_tensor(value: ir.Value) -> ir.TensorProtocol | None:
    """The tensor behind `value` where it is the same for every input: a weight, or a Constant node."""
    if value.is_initializer() and not value.is_graph_input():
        return value.const_value
    producer = value.producer()
    if producer is not None and producer.op_type in ("Constant", "ConstantOfShape"):
        return typed_attributes.constant(producer)
    return None


def of_graph(graph: ir.Graph, ranges: ActivationRanges) -> dict[ir.Value, Extent]:
    """Extents of the fp32 tensors of the main graph that are constant or were observed."""
    extents = {}
    made = [value for node in graph for value in node.outputs]
    for value in (*graph.inputs, *graph.initializers.values(), *made):
        if value.dtype is not ir.DataType.FLOAT:
            continue
        tensor, observed = constant_tensor(value), ranges.tensors.get(str(value.name))
        if tensor is not None:
            extents[value] = of_constant(tensor, ranges.low)
        elif observed is not None:
            extents[value] = of_range(observed)
    return extents
