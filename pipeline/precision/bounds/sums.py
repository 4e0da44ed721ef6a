"""Sums: products with weights, products of activations, convolutions, reductions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from pipeline.precision.bounds.bound import ANYTHING, Bound, Vector, between, interval, product, symmetric, times
from pipeline.precision.bounds.site import Site

FP32_UNIT = 2.0**-24
BLOCK = 1 << 16
"""Elements of a weight looked at at once: few enough to stay in a processor's cache."""

Matrix = npt.NDArray[np.float32]


def matmul(site: Site) -> Bound:
    """A product with a stored matrix, or of two activations."""
    weight = _matrix(site, 1)
    if weight is not None:
        return _with_weight(site, weight)
    return _of_two(site)


def gemm(site: Site) -> Bound:
    """A product with a stored matrix, plus a bias."""
    attributes = site.node.attributes
    weight = _matrix(site, 1)
    if weight is None or attributes.get_int("transA", False):
        return ANYTHING
    weight = weight.T if attributes.get_int("transB", 0) else weight
    found = _with_weight(site, weight)
    alpha, beta = attributes.get_float("alpha", 1.0), attributes.get_float("beta", 1.0)
    ends = [alpha * found.low, alpha * found.high]
    low, high = np.minimum(*ends), np.maximum(*ends)
    if site.value(2) is not None:
        bias = site.operand(2)
        ends = [beta * bias.low, beta * bias.high]
        low, high = low + np.minimum(*ends), high + np.maximum(*ends)
    return between(low, high)


def convolution(site: Site) -> Bound:
    """A convolution with stored filters: padding adds zeros, so that part of a filter may count."""
    weight, data = site.array(1), site.operand(0).hull()
    if weight is None or not data.is_known:
        return ANYTHING
    outputs = weight.reshape(weight.shape[0], -1)
    if site.node.op_type == "ConvTranspose":
        outputs = np.moveaxis(weight, 1, 0).reshape(weight.shape[1], -1)
    low, high = min(float(data.low[0]), 0.0), max(float(data.high[0]), 0.0)
    rises = np.maximum(outputs, 0.0).sum(axis=1, dtype=np.float64)
    falls = np.minimum(outputs, 0.0).sum(axis=1, dtype=np.float64)
    slack = (site.unit + outputs.shape[1] * FP32_UNIT) * data.magnitude * (rises - falls)
    found = between(rises * low + falls * high - slack, rises * high + falls * low + slack)
    if site.value(2) is None:
        return found.hull()
    bias = site.operand(2)
    if site.node.op_type == "ConvTranspose" and site.node.attributes.get_int("group", 1) > 1:
        found, bias = found.hull(), bias.hull()
    return between(found.low + bias.low, found.high + bias.high).hull()


def reduced_sum(site: Site) -> Bound:
    """ReduceSum, ReduceL1, ReduceL2, ReduceSumSquare: of as many elements as the reduced axes have at most."""
    data, count, op = site.operand(0).hull(), _reduced(site), site.node.op_type
    if count is None or not data.is_known:
        return ANYTHING
    slack = 1.0 + count * FP32_UNIT
    largest = data.magnitude
    if op == "ReduceSum":
        low, high = min(float(data.low[0]), 0.0), max(float(data.high[0]), 0.0)
        return interval(count * low * slack, count * high * slack)
    if op == "ReduceL1":
        return interval(0.0, count * largest * slack)
    return interval(0.0, count * largest**2 * slack if op == "ReduceSumSquare" else math.sqrt(count) * largest * slack)


def _reduced(site: Site) -> float | None:
    found = site.sizes(0)
    if found is None:
        return None
    axes = site.numbers(1, "axes")
    if site.value(1) is not None and axes is None:
        return None
    count = math.prod(found) if axes is None else math.prod(found[axis] for axis in axes)
    return count if count < math.inf else None


def _matrix(site: Site, position: int) -> Matrix | None:
    array = site.array(position)
    return array if array is not None and array.ndim == 2 and array.dtype == np.float32 else None


def _with_weight(site: Site, weight: Matrix) -> Bound:
    data, slack = site.operand(0), 2.0 * site.unit + weight.shape[0] * FP32_UNIT
    if data.ball is not None:
        ball, ones = data.ball, np.ones(1)
        centre, (scaled, plain) = _look(weight, ball.centre, np.square, ball.scale**2, ones)
        error = ball.error + slack * ball.norm(weight.shape[0])
        reach = ball.radius * np.sqrt(scaled) + error * np.sqrt(plain)
    elif data.is_known:
        middle, radius = (data.low + data.high) / 2.0, (data.high - data.low) / 2.0
        centre, (spread, whole) = _look(weight, middle, np.abs, radius, data.largest())
        reach = spread + slack * whole
    elif data.norm < math.inf:
        centre, (plain,) = _look(weight, np.zeros(1), np.square, np.ones(1))
        reach = data.norm * (1.0 + slack) * np.sqrt(plain)
    else:
        return ANYTHING
    return between(centre - reach, centre + reach)


def _of_two(site: Site) -> Bound:
    left, right, depth = site.operand(0), site.operand(1), site.last(0)
    slack = 1.0 + 2.0 * site.unit + (depth * FP32_UNIT if depth < math.inf else 0.0)
    if float(left.low.min()) >= -TINY_SHARE and left.total < math.inf and depth < math.inf:
        low, high = np.minimum(right.low, 0.0), np.maximum(right.high, 0.0)
        share = left.total * slack  # of rows: what comes out lies among them
        negative = TINY_SHARE * depth * right.largest()
        return between(times(low, np.array([share])) - negative, times(high, np.array([share])) + negative)
    bounds = [left.row_norm(depth) * right.column, left.total * right.magnitude]
    if depth < math.inf:
        single = product(left.hull(), right.hull())
        bounds.append(depth * single.magnitude)
    return symmetric(min(bound if not math.isnan(bound) else math.inf for bound in bounds) * slack)


TINY_SHARE = 2.0**-20
"""How far below zero rounding's allowance may put the lower end of what is never negative."""


def _look(weight: Matrix, row: Vector, function: Callable[[Matrix], Matrix], *factors: Vector) -> tuple[Vector, Vector]:
    """The product of `row` and `weight`, and those of `factors` and a function of it that is never negative.

    It is read once, block by block, in fp32; the second products are rounded up.
    """
    size = weight.shape[0]
    wanted = np.stack([_broadcast(factor, size) for factor in factors]).astype(np.float32)
    plain = _broadcast(row, size).astype(np.float32)
    centred = bool(plain.any())
    centre, total = np.zeros(weight.shape[1], np.float32), np.zeros((len(factors), weight.shape[1]), np.float32)
    for start, stop in _blocks(weight):
        block = weight[start:stop]
        if centred:
            centre += plain[start:stop] @ block
        total += wanted[:, start:stop] @ function(block)
    return centre.astype(np.float64), total.astype(np.float64) * (1.0 + 4.0 * size * FP32_UNIT)


def _blocks(weight: Matrix) -> Iterator[tuple[int, int]]:
    rows = max(1, BLOCK // max(weight.shape[1], 1))
    for start in range(0, weight.shape[0], rows):
        yield start, min(start + rows, weight.shape[0])


def _broadcast(row: Vector, size: int) -> Vector:
    return np.broadcast_to(row, (size,))
