"""The walk over a graph: one rule an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir

from pipeline.core.formats import Format
from pipeline.precision import semantics
from pipeline.precision.bounds import elementwise, intervals, moves, norms, sums
from pipeline.precision.bounds.bound import ANYTHING, Bound, interval
from pipeline.precision.bounds.extents import Extent, constant_tensor
from pipeline.precision.bounds.given import Given
from pipeline.precision.bounds.site import SMALL, Site, of_constant, sizes
from pipeline.precision.semantics import Movement

Rule = Callable[[Site], Bound | list[Bound]]


def of_graph(model: ir.Model, extents: Mapping[ir.Value, Extent], given: Given, low: Format) -> dict[ir.Value, Bound]:
    """Bounds of every tensor of the main graph, for every input that `given` admits.

    Args:
        model: The fp32 graph.
        extents: What its constants hold; what was observed is not used.
        given: What the spec says of inputs.
        low: The low format, whose roundings the bounds allow for.
    """
    with np.errstate(all="ignore"):  # what leaves the range of a float says nothing, and is taken so
        return _walk(model.graph, extents, given, low.limits.unit_roundoff)


def _walk(graph: ir.Graph, extents: Mapping[ir.Value, Extent], given: Given, unit: float) -> dict[ir.Value, Bound]:
    bounds: dict[ir.Value, Bound] = {}
    for value in graph.initializers.values():
        bounds[value] = _of_constant(value, extents, unit)
    for value in graph.inputs:
        if value not in bounds:
            bounds[value] = _of_input(value, given, unit)
    for node in graph:
        site = Site(node=node, bounds=bounds, axes=given.axes, unit=unit)
        found = _of_node(site, extents)
        for value, bound in zip(node.outputs, found, strict=True):
            exact = value.dtype is not None and not value.dtype.is_floating_point()
            bounds[value] = bound if exact or _is_exact(node) else bound.rounded(2 * unit, _row(value, given))
    return bounds


def _of_constant(value: ir.Value, extents: Mapping[ir.Value, Extent], unit: float) -> Bound:
    tensor = constant_tensor(value)
    if tensor is None or tensor.dtype not in _NUMBERS:
        return ANYTHING
    if 0 < tensor.size <= SMALL:
        found = of_constant(tensor.numpy())
    elif (extent := extents.get(value)) is not None and extent.low <= extent.high:
        found = interval(extent.low, extent.high)
    else:
        return ANYTHING
    size = float(tensor.shape[-1]) if len(tensor.shape) and isinstance(tensor.shape[-1], int) else 1.0
    return found.rounded(unit, size) if tensor.dtype is ir.DataType.FLOAT else found


_NUMBERS = frozenset(
    {ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL, ir.DataType.UINT8}
)


def _of_input(value: ir.Value, given: Given, unit: float) -> Bound:
    if value.dtype is ir.DataType.BOOL:
        return interval(0.0, 1.0)
    if str(value.name) not in given.inputs:
        return ANYTHING
    return interval(*given.inputs[str(value.name)]).rounded(unit, _row(value, given))


def _of_node(site: Site, extents: Mapping[ir.Value, Extent]) -> list[Bound]:
    node = site.node
    count = len(node.outputs)
    if node.op_type in ("Constant", "ConstantOfShape") and node.domain in ("", "ai.onnx"):
        return [_of_constant(node.outputs[0], extents, site.unit)]
    rule = _RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if rule is None:
        return [interval(0.0, 1.0) if value.dtype is ir.DataType.BOOL else ANYTHING for value in node.outputs]
    if norms.written_out(node) is not None:
        rule = norms.root_mean_square
    found = rule(site)
    results = found if isinstance(found, list) else [found]
    return [*results, *[ANYTHING] * (count - len(results))]


def _is_exact(node: ir.Node) -> bool:
    row = semantics.TABLE.get(node.op_type)
    return row is not None and (row.movement is Movement.EXACT or node.op_type == "Constant")


def _row(value: ir.Value, given: Given) -> float:
    found = sizes(value, given.axes)
    return np.inf if found is None else found[-1] if found else 1.0


def _resized(site: Site) -> Bound:
    """Nearest and linear interpolation stay among the elements; cubic does not."""
    plain = site.node.attributes.get_string("mode", "nearest") in ("nearest", "linear")
    return moves.hull_with_zero(site) if plain else ANYTHING


def _shape(site: Site) -> Bound:
    """Sizes of axes."""
    found = site.sizes(0)
    return interval(0.0, max(found, default=1.0)) if found is not None else ANYTHING


def _range(site: Site) -> Bound:
    """Numbers from a start to a limit."""
    ends = [site.operand(0), site.operand(1)]
    return interval(float(min(end.low.min() for end in ends)), float(max(end.high.max() for end in ends)))


_BY_OP: dict[str, tuple[Rule, str]] = {
    "same": (moves.same, "Identity Dropout"),
    "reshaped": (moves.reshaped, "Flatten Reshape Squeeze Unsqueeze"),
    "hull": (
        moves.hull,
        "Compress DepthToSpace GatherElements GatherND GlobalAveragePool GlobalMaxPool MaxPool ReduceMax ReduceMean "
        "ReduceMin ReverseSequence SpaceToDepth Tile TopK",
    ),
    "hull_with_zero": (moves.hull_with_zero, "AveragePool Trilu"),
    "scattered": (moves.scattered, "ScatterElements ScatterND"),
    "shrunk": (elementwise.shrunk, "Relu Gelu HardSwish Mish Tanh Softsign Abs Neg ThresholdedRelu"),
    "leaky": (elementwise.leaky, "LeakyRelu Elu Celu"),
    "convolution": (sums.convolution, "Conv ConvTranspose"),
    "reduced_sum": (sums.reduced_sum, "ReduceL1 ReduceL2 ReduceSum ReduceSumSquare"),
    "per_channel": (norms.per_channel_norm, "InstanceNormalization GroupNormalization"),
    "softmax": (norms.softmax, "Softmax Hardmax"),
    "recurrence": (norms.recurrence, "LSTM GRU RNN"),
}

_RULES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            op
            for op in semantics.TABLE
            if intervals.is_known(op) and not intervals.follows(op) and op not in ("Resize", "Softmax")
        ),
        elementwise.by_interval,
    ),
    **dict.fromkeys(("Exp", "Clip", "Max", "Min", "Sum"), elementwise.by_interval),
    **{op: rule for rule, ops in _BY_OP.values() for op in ops.split()},
    "Add": elementwise.added,
    "BatchNormalization": norms.batch_norm,
    "Cast": elementwise.converted,
    "Concat": moves.concatenated,
    "Div": elementwise.divided,
    "Expand": moves.expanded,
    "Gather": moves.gathered,
    "Gemm": sums.gemm,
    "LayerNormalization": norms.layer_norm,
    "LogSoftmax": norms.log_softmax,
    "LpNormalization": norms.lp_norm,
    "MatMul": sums.matmul,
    "Mul": elementwise.multiplied,
    "Pad": moves.padded,
    "Pow": elementwise.raised,
    "Range": _range,
    "Resize": _resized,
    "Shape": _shape,
    "Slice": moves.sliced,
    "Split": moves.split,
    "Sub": elementwise.subtracted,
    "Transpose": moves.transposed,
    "Where": moves.chosen,
}
