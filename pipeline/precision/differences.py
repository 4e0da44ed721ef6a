"""How two tensors differ: reduced in the graph, merged over batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import ErrorStats, Injected
from pipeline.core.errors import ValidationError
from pipeline.precision.instrument import Reducer

QUICK = """
Quick (r, c) => (shape_r, shape_c, low, high, signal, power, noise) {
    shape_r = Shape(r)
    shape_c = Shape(c)
    d = Sub(c, r)
    low = ReduceMin <keepdims = 0> (d)
    high = ReduceMax <keepdims = 0> (d)
    signal = ReduceSumSquare <keepdims = 0> (r)
    power = ReduceSumSquare <keepdims = 0> (c)
    noise = ReduceSumSquare <keepdims = 0> (d)
}
"""
"""Sums in fp32, a quarter of the time that float64 takes: to 2e-4 at three million elements, 0.001 dB.

Where an element of either is not finite, or a square leaves the range of fp32, a sum is NaN or infinite; where squares
may have been lost to underflow, or there are too many of them, `read` sees it.
"""

WIDE = """
Wide (r, c) => (shape_r, shape_c, low, high, signal, power, noise) {
    shape_r = Shape(r)
    shape_c = Shape(c)
    r64 = Cast <to = 11> (r)
    c64 = Cast <to = 11> (c)
    d = Sub(c64, r64)
    low = ReduceMin <keepdims = 0> (d)
    high = ReduceMax <keepdims = 0> (d)
    signal = ReduceSumSquare <keepdims = 0> (r64)
    power = ReduceSumSquare <keepdims = 0> (c64)
    noise = ReduceSumSquare <keepdims = 0> (d)
}
"""
"""The same in float64, for tensors whose squares fp32 cannot hold, such as scores with a mask of -3.4e38."""

BRIEF = """
Brief (r, c) => (low, high, noise) {
    d = Sub(c, r)
    low = ReduceMin <keepdims = 0> (d)
    high = ReduceMax <keepdims = 0> (d)
    noise = ReduceSumSquare <keepdims = 0> (d)
}
"""
"""What `QUICK` has not yet said of a second candidate for the same reference."""

FULL = """
Full (r, c, largest, zero) => (shape_r, shape_c, low, high, signal, power, noise, nan_r, nan_c, inf_r, inf_c, agree) {
    shape_r = Shape(r)
    shape_c = Shape(c)
    size_r = Abs(r)
    size_c = Abs(c)
    finite_r = LessOrEqual(size_r, largest)
    finite_c = LessOrEqual(size_c, largest)
    finite = And(finite_r, finite_c)
    same = Equal(r, c)
    agreeing = Or(finite, same)
    clean_r = Where(finite, r, zero)
    clean_c = Where(finite, c, zero)
    r64 = Cast <to = 11> (clean_r)
    c64 = Cast <to = 11> (clean_c)
    d64 = Sub(c64, r64)
    low = ReduceMin <keepdims = 0> (d64)
    high = ReduceMax <keepdims = 0> (d64)
    signal = ReduceSumSquare <keepdims = 0> (r64)
    power = ReduceSumSquare <keepdims = 0> (c64)
    noise = ReduceSumSquare <keepdims = 0> (d64)
    is_nan_r = IsNaN(r)
    is_nan_c = IsNaN(c)
    is_inf_r = IsInf(r)
    is_inf_c = IsInf(c)
    ones_nan_r = Cast <to = 11> (is_nan_r)
    ones_nan_c = Cast <to = 11> (is_nan_c)
    ones_inf_r = Cast <to = 11> (is_inf_r)
    ones_inf_c = Cast <to = 11> (is_inf_c)
    ones_agree = Cast <to = 11> (agreeing)
    nan_r = ReduceSum <keepdims = 0> (ones_nan_r)
    nan_c = ReduceSum <keepdims = 0> (ones_nan_c)
    inf_r = ReduceSum <keepdims = 0> (ones_inf_r)
    inf_c = ReduceSum <keepdims = 0> (ones_inf_c)
    agree = ReduceSum <keepdims = 0> (ones_agree)
}
"""
"""Exact for every pair: statistics are over elements that are finite in both. NaN never agrees with NaN."""

_F, _D, _I = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT64

quick = Reducer(body=QUICK, constants={}, outputs=(_I, _I, _F, _F, _F, _F, _F))

wide = Reducer(body=WIDE, constants={}, outputs=(_I, _I, *[_D] * 5))

brief = Reducer(body=BRIEF, constants={}, outputs=(_F, _F, _F))

full = Reducer(
    body=FULL,
    constants={"largest": np.array(np.finfo(np.float32).max), "zero": np.array(0, np.float32)},
    outputs=(_I, _I, *[_D] * 10),
)

SQUARES_LOST_BELOW = 1e-30
"""Mean square from which on what fp32 loses of smaller squares (under 1.2e-38 each) does not count."""

MOST_SUMMED = 1 << 26
"""Elements from which on sums in fp32 are not trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How two tensors differ over the batches so far; starts empty.

    Attributes:
        elements: Elements compared.
        max_abs: Largest absolute difference.
        signal: Sum of squares of the reference.
        power: Sum of squares of the candidate.
        noise: Sum of squares of the difference.
        worst: Index of the batch with the largest relative error, or -1.
        batches: Batches merged; 0 for a single one.
        relative: Sum of the relative errors of the merged batches: infinite where one mismatches.
        largest: Largest of them.
    """

    elements: int = 0
    max_abs: float = 0.0
    signal: float = 0.0
    power: float = 0.0
    noise: float = 0.0
    nan_reference: int = 0
    nan_candidate: int = 0
    inf_reference: int = 0
    inf_candidate: int = 0
    mismatched: int = 0
    worst: int = -1
    batches: int = 0
    relative: float = 0.0
    largest: float = 0.0

    def merge(self, other: Difference) -> Difference:
        """Both together."""
        (count, total, largest), (more, added, other_largest) = self._by_batch(), other._by_batch()
        return Difference(
            elements=self.elements + other.elements,
            max_abs=max(self.max_abs, other.max_abs),
            signal=self.signal + other.signal,
            power=self.power + other.power,
            noise=self.noise + other.noise,
            nan_reference=self.nan_reference + other.nan_reference,
            nan_candidate=self.nan_candidate + other.nan_candidate,
            inf_reference=self.inf_reference + other.inf_reference,
            inf_candidate=self.inf_candidate + other.inf_candidate,
            mismatched=self.mismatched + other.mismatched,
            worst=other.worst if other_largest > largest or self.worst < 0 else self.worst,
            batches=count + more,
            relative=total + added,
            largest=max(largest, other_largest),
        )

    def _by_batch(self) -> tuple[int, float, float]:
        """Batches, the sum of their relative errors, and the largest of these."""
        if self.batches or self.worst < 0:
            return self.batches, self.relative, self.largest
        own = math.inf if self.mismatched else _ratio(self.noise, self.signal)
        return 1, own, own

    def injected(self) -> Injected:
        """The figures that are reported of what a node adds by itself."""
        ratio = _ratio(self.noise, self.signal)
        return Injected(
            max_abs=self.max_abs,
            relative_l2=ratio,
            sqnr_db=decibels(ratio),
            nonfinite=max(0, self.mismatched - self.nan_reference),
        )

    def stats(self) -> ErrorStats:
        """The figures that are reported."""
        count, total, largest = self._by_batch()
        return ErrorStats(
            elements=self.elements,
            max_abs=self.max_abs,
            relative_l2=_ratio(self.noise, self.signal),
            cosine=self._cosine(),
            sqnr_db=decibels(_ratio(self.noise, self.signal)),
            nan_reference=self.nan_reference,
            nan_candidate=self.nan_candidate,
            inf_reference=self.inf_reference,
            inf_candidate=self.inf_candidate,
            mismatched_nonfinite=self.mismatched,
            worst_sample=self.worst,
            worst_relative_l2=largest,
            mean_relative_l2=total / count if count else 0.0,
        )

    def _cosine(self) -> float:
        """From the three sums of squares: 2 r.c = |r|^2 + |c|^2 - |c - r|^2."""
        if self.signal == 0 and self.power == 0:
            return 1.0
        if self.signal == 0 or self.power == 0:
            return 0.0
        product = (self.signal + self.power - self.noise) / 2
        return max(-1.0, min(1.0, product / math.sqrt(self.signal) / math.sqrt(self.power)))


def decibels(ratio: float) -> float:
    """SQNR of a noise-to-signal ratio of norms; inf where there is no noise."""
    return -20.0 * math.log10(ratio) if ratio else math.inf


def _ratio(noise: float, signal: float) -> float:
    """||noise|| / ||signal||: 0 where both are zero, inf where only the signal is."""
    if noise == 0:
        return 0.0
    return math.sqrt(noise) / math.sqrt(signal) if signal > 0 else math.inf


def read(outputs: Sequence[Any], *, batch: int, share: float = 1.0) -> Difference | None:
    """What either template found, or None where only `FULL` can tell: `QUICK` could not.

    Args:
        outputs: What the template gave.
        batch: Index of the batch.
        share: Share of the elements that were compared, where the others were set to zero in both.

    Raises:
        ValidationError: The two tensors differ in shape.
    """
    shape_r, shape_c, low, high, signal, power, noise, *counts = outputs
    if shape_r.tolist() != shape_c.tolist():
        raise ValidationError(f"the reference has shape {shape_r.tolist()}, the candidate {shape_c.tolist()}")
    whole = math.prod(shape_r.tolist())
    if whole == 0:
        return Difference()
    size = max(float(high), -float(low))
    if not counts and not _told(size, (signal, power, noise), whole):
        return None
    nan_r, nan_c, inf_r, inf_c, agree = (int(count) for count in counts) if counts else (0, 0, 0, 0, whole)
    return Difference(
        elements=round(whole * share),
        max_abs=size,
        signal=float(signal),
        power=float(power),
        noise=float(noise),
        nan_reference=nan_r,
        nan_candidate=nan_c,
        inf_reference=inf_r,
        inf_candidate=inf_c,
        mismatched=whole - agree,
        worst=batch,
    )


def read_brief(outputs: Sequence[Any], of_first: Sequence[Any], *, batch: int, share: float = 1.0) -> Difference | None:
    """What `BRIEF` found, or None where only `FULL` can tell.

    Args:
        outputs: What the template gave.
        of_first: What `QUICK` or `FULL` gave for the same reference and the first candidate.
        batch: Index of the batch.
        share: As for `read`.
    """
    low, high, noise = outputs
    whole, signal = math.prod(of_first[0].tolist()), float(of_first[4])
    if whole == 0:
        return Difference()
    size = max(float(high), -float(low))
    if not _told(size, (signal, noise), whole):
        return None
    return Difference(elements=round(whole * share), max_abs=size, signal=signal, noise=float(noise), worst=batch)


def _told(size: float, sums: Sequence[float], elements: int) -> bool:
    """Whether sums of squares in fp32 tell the truth: nothing left its range upwards or, where it counts, downwards."""
    trusted = elements <= MOST_SUMMED and all(math.isfinite(value) for value in sums)
    return trusted and (size == 0 or min(sums) >= elements * SQUARES_LOST_BELOW)


def between(reference: np.ndarray[Any, Any], candidate: np.ndarray[Any, Any], *, batch: int) -> Difference:
    """The same of two arrays of one shape."""
    r, c = reference.astype(np.float64), candidate.astype(np.float64)
    finite = np.isfinite(r) & np.isfinite(c)
    agree = finite | (r == c)
    r_finite, c_finite = r[finite], c[finite]
    d = c_finite - r_finite
    return Difference(
        elements=r.size,
        max_abs=float(np.abs(d).max(initial=0.0)),
        signal=float(np.dot(r_finite, r_finite)),
        power=float(np.dot(c_finite, c_finite)),
        noise=float(np.dot(d, d)),
        nan_reference=int(np.isnan(r).sum()),
        nan_candidate=int(np.isnan(c).sum()),
        inf_reference=int(np.isinf(r).sum()),
        inf_candidate=int(np.isinf(c).sum()),
        mismatched=int(r.size - agree.sum()),
        worst=batch,
    )
