"""What the rules look at: the graph, what its operators do, and what its tensors may hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.core.artifacts import ActivationRanges
from pipeline.core.errors import CalibrationError
from pipeline.core.formats import Format
from pipeline.core.spec import PrecisionSpec
from pipeline.graph import io
from pipeline.graph.typed import require_typed
from pipeline.precision import attention, bounds, masks, reach, semantics
from pipeline.precision.admitted import admits
from pipeline.precision.bounds import Bound, Given, extents
from pipeline.precision.bounds.extents import Extent
from pipeline.precision.masks import Masks
from pipeline.precision.reach import Reach
from pipeline.precision.semantics import Movement, OpSemantics


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything a rule may read. Values and nodes are those of `model`.

    Attributes:
        model: The fp32 graph.
        spec: How precision is decided.
        rows: Semantics of every node of the main graph, in graph order.
        extents: What each fp32 tensor holds, where that is known.
        unobserved: Why a tensor has no extent, by tensor name.
        reaches: Tensors that a constant may push beyond what calibration saw.
        bounds: What each tensor holds for any input that the spec admits.
        cores: Attention cores.
        masks: Masked scores that a narrow format can hold, and those that it cannot.
    """

    model: ir.Model
    spec: PrecisionSpec
    rows: dict[ir.Node, OpSemantics]
    extents: dict[ir.Value, Extent]
    unobserved: dict[str, str]
    reaches: dict[ir.Value, Reach]
    bounds: dict[ir.Value, Bound]
    cores: tuple[attention.Core, ...]
    masks: Masks

    @property
    def low(self) -> Format:
        """The low format."""
        return self.spec.low

    @property
    def usable(self) -> float:
        """Largest calibrated magnitude that counts as safe in the low format."""
        return self.low.limits.largest / self.spec.overflow_margin

    def admits(self, node: ir.Node, format_: Format) -> bool:
        """Whether ONNX types the node in a format."""
        return format_ is Format.FP32 or admits(node, self.rows[node], io.opset(self.model), format_)

    def holder(self, node: ir.Node, magnitude: float) -> Format:
        """The format of a node whose values, up to a magnitude, the low format's range does not hold."""
        wide = self.spec.range_format
        fits = magnitude * self.spec.overflow_margin <= wide.limits.largest
        return wide if fits and wide is not self.low and self.admits(node, wide) else Format.FP32


def gather(model: ir.Model, ranges: ActivationRanges, spec: PrecisionSpec, given: Given | None = None) -> Evidence:
    """Collect the evidence for one model.

    Args:
        model: The fp32 graph.
        ranges: What its tensors held in calibration.
        spec: How precision is decided.
        given: What the spec says of inputs; without it, less can be proven.

    Raises:
        GraphError: An operator has no semantics, or a tensor no type.
        CalibrationError: A float tensor was neither observed nor explained, or an input left the range that the spec
            says it has.
    """
    given = given or Given()
    _require_in_range(ranges, given)
    rows = {node: semantics.of(node, model.functions.keys()) for node in model.graph}
    require_typed(model)
    known = extents.of_graph(model.graph, ranges)
    reaches = reach.of_graph(model.graph, known, largest=spec.low.limits.largest, margin=spec.overflow_margin)
    bounded = bounds.of_graph(model, known, given, spec.low)
    evidence = Evidence(
        model=model,
        spec=spec,
        rows=rows,
        extents=known,
        unobserved=ranges.unobserved,
        reaches=reaches,
        bounds=bounded,
        cores=attention.cores(model.graph),
        masks=masks.find(model.graph, known, bounded, reaches, spec.overflow_margin),
    )
    _require_observed(evidence)
    return evidence


def require_same_model(ranges: ActivationRanges, digest: str, precision: PrecisionSpec) -> None:
    """Refuse ranges of another model or another low format.

    Raises:
        CalibrationError: They are.
    """
    if ranges.model != digest:
        raise CalibrationError(
            f"ranges were observed on model {ranges.model[:12]}, and this is model {digest[:12]}",
            hint="run calibrate on this model",
        )
    if ranges.low is not precision.low:
        raise CalibrationError(
            f"ranges count what overflows in {ranges.low}, and the low format is {precision.low}",
            hint=f"run calibrate for {precision.low}",
        )


def is_float(value: ir.Value | None) -> bool:
    """Whether a tensor is fp32, the only type whose format is decided here."""
    return value is not None and value.dtype is ir.DataType.FLOAT


def float_operands(node: ir.Node, row: OpSemantics) -> Iterator[ir.Value]:
    """Operands whose format the node's decision sets."""
    if row.movement is Movement.INTEGER:
        return
    kept = (*row.index_operands, *row.fp32_operands)
    for position, value in enumerate(node.inputs):
        if value is not None and is_float(value) and position not in kept:
            yield value


def float_results(node: ir.Node, row: OpSemantics) -> Iterator[ir.Value]:
    """Results whose format the node's decision sets."""
    for position, value in enumerate(node.outputs):
        if is_float(value) and position not in row.fp32_results:
            yield value


def _require_in_range(ranges: ActivationRanges, given: Given) -> None:
    for name, (low, high) in given.inputs.items():
        seen = ranges.tensors.get(name)
        if seen is not None and not (low <= seen.low and seen.high <= high and seen.nonfinite == 0):
            raise CalibrationError(
                f"held {seen.low:.6g} to {seen.high:.6g} in calibration, and the spec says {low:g} to {high:g}",
                where=f"input {name}",
                hint="bounds that rest on inputs.*.range would not hold: correct the range, or the data",
            )


def _require_observed(evidence: Evidence) -> None:
    for node, row in evidence.rows.items():
        for value in (*float_operands(node, row), *float_results(node, row)):
            if value not in evidence.extents and str(value.name) not in evidence.unobserved:
                raise CalibrationError(
                    "calibration neither observed this tensor nor says why not",
                    where=f"tensor {value.name} of node {node.name}",
                    hint="run calibrate on this graph",
                )
