"""Histograms of tensors that come batch by batch, whose range nobody knows beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BINS = 64
"""Bins of a histogram of values."""

HALF = BINS // 2
LOWEST, HIGHEST = -149, 128
"""Exponents of the smallest fp32 number and of the first power of two beyond the largest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts in neighbouring bins; what no bin can hold is counted apart.

    Attributes:
        edges: Of the bins, one more than there are bins.
        counts: Elements in each bin, its lower edge included.
        zeros: Zeros, where they are in no bin.
        nan: NaN.
        inf: Infinities.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    zeros: int = 0
    nan: int = 0
    inf: int = 0


class Values:
    """Values in bins of one width around zero; the width doubles, and neighbours merge, until everything fits."""

    def __init__(self) -> None:
        self.exponent = LOWEST
        self.counts = np.zeros(BINS, np.int64)
        self.nan = self.inf = 0

    def add(self, array: Array) -> None:
        """Count more elements."""
        finite, self.nan, self.inf = _finite(array, self.nan, self.inf)
        if finite.size:
            self.widen(_exponent(float(np.abs(finite).max())))
            bins = np.floor(finite / 2.0**self.exponent).astype(np.int64) + HALF
            self.counts += np.bincount(bins, minlength=BINS)

    def widen(self, exponent: int) -> None:
        """Make bins at least as wide as 2 to this power."""
        while self.exponent < exponent:
            merged = self.counts.reshape(HALF, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[HALF // 2 : HALF // 2 + HALF] = merged
            self.exponent += 1

    def histogram(self) -> Histogram:
        """What was counted."""
        edges = tuple(float(step) * 2.0**self.exponent for step in range(-HALF, HALF + 1))
        return Histogram(edges=edges, counts=tuple(map(int, self.counts)), nan=self.nan, inf=self.inf)


class Magnitudes:
    """Magnitudes by their power of two."""

    def __init__(self) -> None:
        self.counts = np.zeros(HIGHEST - LOWEST, np.int64)
        self.zeros = self.nan = self.inf = 0

    def add(self, array: Array) -> None:
        """Count more elements."""
        finite, self.nan, self.inf = _finite(array, self.nan, self.inf)
        nonzero = finite[finite != 0]
        self.zeros += int(finite.size - nonzero.size)
        powers = np.clip(np.frexp(nonzero)[1] - 1, LOWEST, HIGHEST - 1)
        self.counts += np.bincount(powers - LOWEST, minlength=len(self.counts))

    def histogram(self) -> Histogram:
        """What was counted, from the smallest power seen to the largest."""
        seen = np.flatnonzero(self.counts)
        first, last = (int(seen[0]), int(seen[-1])) if seen.size else (0, -1)
        edges = tuple(2.0 ** (LOWEST + at) for at in range(first, last + 2)) if seen.size else ()
        counts = tuple(map(int, self.counts[first : last + 1]))
        return Histogram(edges=edges, counts=counts, zeros=self.zeros, nan=self.nan, inf=self.inf)


def alike(one: Values, other: Values) -> tuple[Histogram, Histogram]:
    """Two histograms over the same bins."""
    for values in (one, other):
        values.widen(max(one.exponent, other.exponent))
    return one.histogram(), other.histogram()


def _exponent(largest: float) -> int:
    """Width of a bin, as a power of two, with which `largest` is inside."""
    return int(np.frexp(largest / HALF)[1]) if largest > 0 else LOWEST


def _finite(array: Array, nan: int, inf: int) -> tuple[Array, int, int]:
    """The finite elements in double precision, and the counts with what is not finite added."""
    wide = array.astype(np.float64).reshape(-1)
    return wide[np.isfinite(wide)], nan + int(np.isnan(wide).sum()), inf + int(np.isinf(wide).sum())
