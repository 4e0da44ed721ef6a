"""Operators that compute each element by itself; a ball survives a constant factor and a constant term."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from pipeline.precision.bounds import intervals
from pipeline.precision.bounds.bound import ANYTHING, Bound, Vector, between, interval
from pipeline.precision.bounds.site import Site


def by_interval(site: Site) -> Bound:
    """What interval arithmetic says of the operator."""
    operands = [(bound.low, bound.high) for bound in site.operands()]
    low, high = intervals.result(site.node.op_type, operands)
    return between(np.atleast_1d(np.asarray(low, np.float64)), np.atleast_1d(np.asarray(high, np.float64)))


def shrunk(site: Site) -> Bound:
    """An operator that makes no element larger, such as Relu or Gelu: norms hold on."""
    found, data = by_interval(site), site.operand(0)
    if not site.keeps_rows(0):
        return found
    return Bound(low=found.low, high=found.high, norm=data.row_norm(site.last()), column=data.column, total=data.total)


def multiplied(site: Site) -> Bound:
    """A product: of a tensor by itself, by a constant, or by another."""
    left, right = site.operand(0), site.operand(1)
    if site.value(0) is site.value(1):
        return _squared(left)
    found = by_interval(site)
    for position, data in ((1, left), (0, right)):
        factor = site.row(position)
        if factor is not None and site.keeps_rows(1 - position):
            return _scaled(found, data, factor)
    return found


def divided(site: Site) -> Bound:
    """A quotient, by a constant perhaps."""
    found, divisor = by_interval(site), site.row(1)
    if divisor is not None and site.keeps_rows(0) and bool(np.all(divisor != 0)):
        return _scaled(found, site.operand(0), 1.0 / divisor)
    return found


def added(site: Site) -> Bound:
    """A sum, with a constant perhaps."""
    return _shifted(site, ((1, 1.0), (0, 1.0)))


def subtracted(site: Site) -> Bound:
    """A difference, with a constant behind perhaps."""
    return _shifted(site, ((1, -1.0),))


def _shifted(site: Site, terms: tuple[tuple[int, float], ...]) -> Bound:
    """A ball plus a constant: which operand that is, and with which sign it counts."""
    found = by_interval(site)
    for position, sign in terms:
        ball, term, size = site.operand(1 - position).ball, site.row(position), site.fixed(1 - position)
        if ball is not None and term is not None and size is not None and site.keeps_rows(1 - position):
            error = site.unit * (float(np.linalg.norm(term)) if term.size > 1 else abs(float(term[0])) * size**0.5)
            return Bound(low=found.low, high=found.high, ball=ball.plus(sign * term, error))
    return found


def raised(site: Site) -> Bound:
    """A power with a constant exponent."""
    exponent = site.array(1)
    if exponent is None or exponent.size != 1:
        return ANYTHING
    power, data = float(exponent.reshape(-1)[0]), site.operand(0)
    if power == 2.0:
        return _squared(data)
    if power > 0 and power == int(power):
        ends = [data.low**power, data.high**power]
        low = np.minimum.reduce(ends) if power % 2 else np.zeros(1)
        return between(low, np.maximum.reduce(ends))
    positive = between(np.maximum(data.low, 0.0), np.maximum(data.high, 0.0))
    with np.errstate(divide="ignore", over="ignore"):
        ends = [positive.low**power, positive.high**power]
    return between(np.minimum.reduce(ends), np.maximum.reduce(ends))


def leaky(site: Site) -> Bound:
    """LeakyRelu and Elu: a slope, or an exponential, under zero."""
    data, attributes = site.operand(0), site.node.attributes
    if site.node.op_type == "LeakyRelu":
        slope = attributes.get_float("alpha", 0.01)
        under = np.minimum(data.low, 0.0) * slope
        ends = [under, np.minimum(data.high, 0.0) * slope]
        return between(
            np.minimum.reduce([*ends, np.maximum(data.low, 0.0)]),
            np.maximum.reduce([*ends, np.maximum(data.high, 0.0)]),
        )
    alpha = attributes.get_float("alpha", 1.0)
    return between(np.minimum(np.zeros(1), -abs(alpha)), np.maximum(data.high, abs(alpha)))


def converted(site: Site) -> Bound:
    """A Cast: to integers it drops what stands behind the point."""
    data, result = site.operand(0), site.node.outputs[0].dtype
    if result is ir.DataType.BOOL:
        return interval(0.0, 1.0)
    if result is not None and result.is_integer():
        return between(np.floor(data.low), np.ceil(data.high))
    return data


def _squared(data: Bound) -> Bound:
    largest = data.largest()
    crosses = (data.low <= 0.0) & (data.high >= 0.0)
    smallest = np.where(crosses, 0.0, np.minimum(np.abs(data.low), np.abs(data.high)))
    return between(smallest**2, largest**2, total=data.norm**2)


def _scaled(found: Bound, data: Bound, factor: Vector) -> Bound:
    largest = float(np.abs(factor).max())
    return Bound(
        low=found.low,
        high=found.high,
        norm=data.norm * largest,
        column=data.column * largest,
        total=data.total * largest,
        ball=None if data.ball is None else data.ball.times(factor),
    )
