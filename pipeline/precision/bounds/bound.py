"""What is known of one tensor: an interval for each position of its last axis, and norms of its rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

TINY = 2.0**-24
"""Added to what rounding may change: results near zero may become subnormal. fp16's smallest number; fp32's is less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ball:
    """Rows of the form centre + scale * u + e, elementwise, where u and e have bounded Euclidean norms.

    It is what a normalisation gives: unlike an interval it remembers that not all elements are large at once.

    Attributes:
        centre: [1] or [size of the last axis].
        scale: Likewise.
        radius: Largest norm of u.
        error: Largest norm of e: what roundings added.
    """

    centre: Vector
    scale: Vector
    radius: float
    error: float = 0.0

    def norm(self, size: int) -> float:
        """Largest norm of a row of `size` elements."""
        return _norm(self.centre, size) + float(np.abs(self.scale).max()) * self.radius + self.error

    def times(self, factor: Vector) -> Ball:
        """Every row times the same factors."""
        largest = float(np.abs(factor).max())
        return Ball(
            centre=self.centre * factor, scale=self.scale * factor, radius=self.radius, error=self.error * largest
        )

    def plus(self, term: Vector, error: float) -> Ball:
        """Every row plus the same terms, which are known up to an error of this norm."""
        return replace(self, centre=self.centre + term, error=self.error + error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """Bounds of one tensor. Every attribute is an upper bound by itself; all of them hold.

    Attributes:
        low: Smallest value, [1] or [size of the last axis].
        high: Largest value, likewise.
        norm: Largest Euclidean norm of a row (along the last axis).
        column: Likewise along the axis before the last.
        total: Largest sum of magnitudes of a row.
        ball: What a normalisation told, or None.
    """

    low: Vector
    high: Vector
    norm: float = math.inf
    column: float = math.inf
    total: float = math.inf
    ball: Ball | None = None

    @property
    def magnitude(self) -> float:
        """Largest magnitude; infinite where nothing bounds it."""
        return float(max(np.abs(self.low).max(), np.abs(self.high).max()))

    @property
    def is_known(self) -> bool:
        """Whether its magnitude is bounded."""
        return self.magnitude < math.inf

    def largest(self) -> Vector:
        """Largest magnitude by position of the last axis."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def hull(self) -> Bound:
        """One interval for all positions."""
        return interval(float(self.low.min()), float(self.high.max()))

    def row_norm(self, size: float) -> float:
        """Largest norm of a row of at most `size` elements."""
        found = [self.norm, self.total]
        if math.isfinite(size) and self.is_known:
            found.append(_norm(self.largest(), int(size)))
        if self.ball is not None and math.isfinite(size):
            found.append(self.ball.norm(int(size)))
        return min(found)

    def rounded(self, unit: float, size: float) -> Bound:
        """The same after one rounding of relative size `unit` of rows of at most `size` elements."""
        ball = None
        if self.ball is not None and math.isfinite(size):
            added = unit * self.ball.norm(int(size)) + TINY * math.sqrt(size)
            ball = replace(self.ball, error=self.ball.error + added)
        slack = TINY * size if math.isfinite(size) else math.inf
        return Bound(
            low=self.low - unit * np.abs(self.low) - TINY,
            high=self.high + unit * np.abs(self.high) + TINY,
            norm=self.norm * (1 + unit) + slack,
            column=self.column * (1 + unit) + slack,
            total=self.total * (1 + unit) + slack,
            ball=ball,
        )


def _norm(row: Vector, size: int) -> float:
    """Euclidean norm of a row that is given by one number or in full."""
    return float(np.sqrt(row @ row)) if row.size > 1 else abs(float(row[0])) * math.sqrt(size)


def interval(low: float, high: float, **norms: Any) -> Bound:
    """One interval for all positions."""
    return Bound(low=np.array([low]), high=np.array([high]), **norms)


def between(low: Vector, high: Vector, **norms: Any) -> Bound:
    """An interval a position; what is not a number says nothing, and what fp32 cannot hold is infinite."""
    limit = float(np.finfo(np.float32).max)
    low = np.minimum(np.where(low >= -limit, low, -np.inf), limit)
    high = np.maximum(np.where(high <= limit, high, np.inf), -limit)
    low, high = np.broadcast_arrays(np.atleast_1d(low), np.atleast_1d(high))
    return Bound(low=low, high=high, **norms)


def symmetric(magnitude: Vector | float) -> Bound:
    """Values of at most a magnitude."""
    size = np.atleast_1d(np.asarray(magnitude, np.float64))
    return between(-size, size)


ANYTHING = interval(-math.inf, math.inf)


def union(bounds: list[Bound]) -> Bound:
    """What lies in any of several bounds, position by position."""
    low, high = bounds[0].low, bounds[0].high
    for other in bounds[1:]:
        low, high = np.minimum(low, other.low), np.maximum(high, other.high)
    return Bound(low=low, high=high)


def times(left: Vector, right: Vector) -> Vector:
    """A product in which zero times infinity is zero, as it is between the ends of intervals."""
    with np.errstate(invalid="ignore", over="ignore"):
        product = left * right
    return np.where((left == 0.0) | (right == 0.0), 0.0, product)


def product(left: Bound, right: Bound) -> Bound:
    """Products of an element of one and an element of the other."""
    ends = [times(a, b) for a in (left.low, left.high) for b in (right.low, right.high)]
    return between(np.minimum.reduce(ends), np.maximum.reduce(ends))
