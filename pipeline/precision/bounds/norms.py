"""What bounds its results whatever it reads: normalisations, Softmax, recurrences."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from pipeline.precision.bounds.bound import ANYTHING, Ball, Bound, Vector, between, interval, symmetric
from pipeline.precision.bounds.site import Site
from pipeline.precision.decomposed_norms import constant_scalar

LOOSE = 1.001
"""Factor for what fp32 errs in a mean and a variance."""


def layer_norm(site: Site) -> Bound:
    """Rows of norm sqrt(n) at most, times scale, plus bias: n elements of mean 0 and variance 1."""
    size, scale = site.fixed(), site.row(1)
    bias = np.zeros(1) if site.value(2) is None else site.row(2)
    if size is None or scale is None or bias is None:
        return ANYTHING
    if site.axis() != -1:
        return _normalised_over_more(site, scale, bias)
    return _affine(math.sqrt(size) * LOOSE, scale, bias, site.unit)


def _normalised_over_more(site: Site, scale: Vector, bias: Vector) -> Bound:
    axis, found = site.axis(), site.sizes(0)
    if axis is None or found is None or not (elements := math.prod(found[axis:])) < math.inf:
        return ANYTHING
    return _interval(math.sqrt(elements) * LOOSE, scale, bias, site.unit)


def per_channel_norm(site: Site) -> Bound:
    """InstanceNormalization and GroupNormalization: elements of a channel or a group together have variance 1."""
    found, scale, bias = site.sizes(0), site.array(1), site.array(2)
    if found is None or scale is None or bias is None:
        return ANYTHING
    groups = site.node.attributes.get_int("num_groups", int(found[1]) if found[1] < math.inf else 1)
    elements = math.prod(found[2:]) * max(found[1] / groups, 1.0)
    radius = math.sqrt(elements) * LOOSE
    return symmetric(radius * float(np.abs(scale).max()) + float(np.abs(bias).max()))


def batch_norm(site: Site) -> Bound:
    """A scale and a shift a channel."""
    arrays = [site.array(position) for position in range(1, 5)]
    if any(array is None for array in arrays):
        return ANYTHING
    scale, bias, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    factor = scale / np.sqrt(variance + site.node.attributes.get_float("epsilon", 1e-5))
    data = site.operand(0).hull()
    with np.errstate(invalid="ignore"):
        ends = [factor * (float(end[0]) - mean) + bias for end in (data.low, data.high)]
    if not data.is_known:
        return ANYTHING
    slack = 3 * site.unit * (np.abs(factor) * (data.magnitude + np.abs(mean)) + np.abs(bias))
    return between(np.minimum(*ends) - slack, np.maximum(*ends) + slack).hull()


def lp_norm(site: Site) -> Bound:
    """Rows of norm 1."""
    return interval(-LOOSE, LOOSE, norm=LOOSE if site.axis() == -1 else math.inf)


def softmax(site: Site) -> Bound:
    """Numbers from 0 to 1 whose sum is 1."""
    if site.node.op_type == "Hardmax" or site.axis() == -1:
        return interval(0.0, LOOSE, norm=LOOSE, total=LOOSE)
    return interval(0.0, LOOSE)


def log_softmax(site: Site) -> Bound:
    """Never over 0, and under it by no more than the operands differ and the logarithm of their number."""
    data, size = site.operand(0).hull(), site.last()
    spread = float(data.high[0] - data.low[0])
    lowest = (
        -(spread + math.log(size)) if site.axis() == -1 and 1 <= size < math.inf and spread < math.inf else -math.inf
    )
    return interval(lowest, LOOSE - 1.0)


def recurrence(site: Site) -> list[Bound]:
    """LSTM: its results are a sigmoid times a tanh; the state of its cells may grow."""
    plain = "activations" not in site.node.attributes and site.node.op_type == "LSTM"
    one = interval(-1.0, 1.0) if plain else ANYTHING
    return [one if index < 2 else ANYTHING for index in range(len(site.node.outputs))]


def written_out(node: ir.Node) -> ir.Value | None:
    """What `node` divides by the root of its own mean square, plus something that is never negative; else None.

    It is the quotient of an RMSNorm or a LayerNorm that an exporter wrote out, over the last axis.
    """
    if node.op_type == "Div":
        return _over_root(node.inputs[0], _producer(node.inputs[1], "Sqrt"))
    if node.op_type != "Mul":
        return None
    for data, factor in (node.inputs[:2], reversed(node.inputs[:2])):
        inverse = _producer(factor, "Reciprocal")
        root = _producer(inverse.inputs[0], "Sqrt") if inverse is not None else None
        if (found := _over_root(data, root)) is not None:
            return found
        inverse = _producer(factor, "Div")
        if inverse is None or constant_scalar(inverse.inputs[0]) != 1.0:
            continue
        if (found := _over_root(data, _producer(inverse.inputs[1], "Sqrt"))) is not None:
            return found
    return None


def root_mean_square(site: Site) -> Bound:
    """What `written_out` found: rows of norm sqrt(n)."""
    size = site.fixed_result
    return _affine(math.sqrt(size) * LOOSE, np.ones(1), np.zeros(1), site.unit) if size is not None else ANYTHING


def _over_root(data: ir.Value | None, root: ir.Node | None) -> ir.Value | None:
    shifted = _producer(root.inputs[0], "Add") if root is not None else None
    if data is None or shifted is None:
        return None
    for total, eps in (shifted.inputs[:2], reversed(shifted.inputs[:2])):
        mean, number = _producer(total, "ReduceMean"), constant_scalar(eps)
        if mean is not None and number is not None and number > 0.0 and _averages_squares(mean, data):
            return data
    return None


def _averages_squares(mean: ir.Node, data: ir.Value) -> bool:
    square = mean.inputs[0].producer() if mean.inputs[0] is not None else None
    if square is None or square.inputs[0] is not data or not _is_over_last(mean, data):
        return False
    if square.op_type == "Mul":
        return square.inputs[1] is data
    return square.op_type == "Pow" and constant_scalar(square.inputs[1]) == 2.0


def _is_over_last(mean: ir.Node, data: ir.Value) -> bool:
    rank = None if data.shape is None else len(data.shape)
    if len(mean.inputs) > 1 and mean.inputs[1] is not None:
        tensor = ir.convenience.get_const_tensor(mean.inputs[1])
        axes = None if tensor is None else [int(axis) for axis in tensor.numpy().reshape(-1)]
    else:
        axes = list(mean.attributes["axes"].as_ints()) if "axes" in mean.attributes else None
    return axes is not None and len(axes) == 1 and (axes[0] == -1 or (rank is not None and axes[0] == rank - 1))


def _producer(value: ir.Value | None, op: str) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op else None


def _affine(radius: float, scale: Vector, bias: Vector, unit: float) -> Bound:
    found = _interval(radius, scale, bias, unit)
    return Bound(low=found.low, high=found.high, ball=Ball(centre=bias, scale=scale, radius=radius))


def _interval(radius: float, scale: Vector, bias: Vector, unit: float) -> Bound:
    """Scale and bias may be rounded before they are applied."""
    reach = radius * np.abs(scale)
    reach = reach + 2 * unit * (reach + np.abs(bias))
    return between(bias - reach, bias + reach)
