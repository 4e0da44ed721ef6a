"""What one tensor held, and what of it a low format would lose: reduced in the graph, merged over batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import TensorRange
from pipeline.core.formats import Format
from pipeline.precision.reducers.instrument import Reducer

QUICK = """
Quick (x, thresholds, always, zero, infinity, last) => (low, high, total, smallest, shape, under, least) {
    lows = ReduceMin <keepdims = 0> (x, last)
    low = ReduceMin <keepdims = 0> (lows)
    highs = ReduceMax <keepdims = 0> (x, last)
    high = ReduceMax <keepdims = 0> (highs)
    total = ReduceSum <keepdims = 0> (x)
    shape = Shape(x)
    magnitude = Abs(x)
    row_smallest = ReduceMin <keepdims = 0> (magnitude, last)
    smallest = ReduceMin <keepdims = 0> (row_smallest)
    minus_low = Neg(low)
    largest = Max(high, minus_low)
    above = Less(smallest, thresholds)
    within = LessOrEqual(thresholds, largest)
    informative = And(above, within)
    wanted = Or(informative, always)
    asked = Compress(thresholds, wanted)
    under = Scan <num_scan_inputs = 1, body = count (float threshold) => (double count) {
        is_under = Less(magnitude, threshold)
        ones = Cast <to = 1> (is_under)
        rows = ReduceSum <keepdims = 0> (ones, last)
        wide_rows = Cast <to = 11> (rows)
        count = ReduceSum <keepdims = 0> (wide_rows)
    }> (asked)
    has_zero = Equal(smallest, zero)
    least = If (has_zero) <
        then_branch = nonzero () => (float least_nonzero) {
            is_zero = Equal(magnitude, zero)
            others = Where(is_zero, infinity, magnitude)
            least_nonzero = ReduceMin <keepdims = 0> (others)
        },
        else_branch = same () => (float least_of_all) { least_of_all = Identity(smallest) }
    >
}
"""
"""Exact for tensors of rank 1 or more where no element is NaN or infinite and no row longer than `LONGEST_ROW`.

Rows, along the last axis, come first: ONNX Runtime divides only those among its threads. A threshold that every element
or none is under is not counted.
"""

FULL = """
Full (x, thresholds, largest_number, infinity, zero) => (low, high, smallest, elements, nan, posinf, neginf, under) {
    size = Abs(x)
    finite = LessOrEqual(size, largest_number)
    minus = Neg(largest_number)
    for_low = Where(finite, x, largest_number)
    for_high = Where(finite, x, minus)
    low = ReduceMin <keepdims = 0> (for_low)
    high = ReduceMax <keepdims = 0> (for_high)
    positive = Less(zero, size)
    both = And(finite, positive)
    magnitude = Where(both, size, infinity)
    smallest = ReduceMin <keepdims = 0> (magnitude)
    elements = Size(x)
    is_nan = IsNaN(x)
    ones_nan = Cast <to = 11> (is_nan)
    nan = ReduceSum <keepdims = 0> (ones_nan)
    is_posinf = IsInf <detect_negative = 0> (x)
    ones_posinf = Cast <to = 11> (is_posinf)
    posinf = ReduceSum <keepdims = 0> (ones_posinf)
    is_neginf = IsInf <detect_positive = 0> (x)
    ones_neginf = Cast <to = 11> (is_neginf)
    neginf = ReduceSum <keepdims = 0> (ones_neginf)
    under = Scan <num_scan_inputs = 1, body = count (float threshold) => (double count) {
        is_under = Less(size, threshold)
        ones = Cast <to = 11> (is_under)
        count = ReduceSum <keepdims = 0> (ones)
    }> (thresholds)
}
"""
"""Exact for every tensor, and slower: counts NaN and infinities, and leaves them out of everything else."""

LARGEST = np.finfo(np.float32).max
ALWAYS = np.array([False, False, True, False])
"""Which thresholds `QUICK` always counts: a Scan over none is an error in ONNX Runtime."""

LONGEST_ROW = 2**24
"""Up to here fp32 counts one by one."""

TINIEST = np.finfo(np.float32).smallest_subnormal


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Magnitudes that part what a low format does to a number: under which it is zero, lost, subnormal, or finite."""

    zero: np.float32
    lost: np.float32
    subnormal: np.float32
    overflow: np.float32

    @staticmethod
    def of(low: Format) -> Thresholds:
        """Smallest fp32 magnitudes that are not zero, lost, subnormal, or finite when rounded to `low`."""
        limits = low.limits
        return Thresholds(
            zero=TINIEST,
            lost=np.nextafter(np.float32(limits.flush_to_zero), np.float32(1)),
            # Half a step under the smallest normal number the tie goes to the even significand: the normal number.
            subnormal=np.float32(limits.smallest_normal - limits.smallest_subnormal / 2),
            overflow=np.float32(limits.overflow_from),
        )

    def array(self) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The four as fp32[4]."""
        return np.array([self.zero, self.lost, self.subnormal, self.overflow], np.float32)


def quick(low: Format) -> Reducer:
    """The reducer that is exact for finite tensors."""
    f, d, i = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT64
    constants = {
        "thresholds": Thresholds.of(low).array(),
        "always": ALWAYS,
        "zero": np.array(0, np.float32),
        "infinity": np.array(np.inf, np.float32),
        "last": np.array([-1]),
    }
    return Reducer(body=QUICK, constants=constants, outputs=(f, f, f, f, i, d, f))


def full(low: Format) -> Reducer:
    """The reducer that is exact for every tensor."""
    f, d, i = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT64
    constants = {
        "thresholds": Thresholds.of(low).array(),
        "largest": np.array(LARGEST),
        "infinity": np.array(np.inf, np.float32),
        "zero": np.array(0, np.float32),
    }
    return Reducer(body=FULL, constants=constants, outputs=(f, f, f, i, d, d, d, d))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What one tensor held so far; starts empty. Attributes as in `TensorRange`."""

    low: float = math.inf
    high: float = -math.inf
    smallest: float = math.inf
    elements: int = 0
    nan: int = 0
    posinf: int = 0
    neginf: int = 0
    overflow: int = 0
    subnormal: int = 0
    lost: int = 0
    history: tuple[float, ...] = ()

    @property
    def magnitude(self) -> float:
        """Largest finite magnitude; 0 where nothing was seen."""
        return max(self.high, -self.low, 0.0)

    def merge(self, other: Seen) -> Seen:
        """Both together: `other` comes after."""
        return Seen(
            history=(*self.history, max(self.magnitude, other.magnitude)),
            low=min(self.low, other.low),
            high=max(self.high, other.high),
            smallest=min(self.smallest, other.smallest),
            elements=self.elements + other.elements,
            nan=self.nan + other.nan,
            posinf=self.posinf + other.posinf,
            neginf=self.neginf + other.neginf,
            overflow=self.overflow + other.overflow,
            subnormal=self.subnormal + other.subnormal,
            lost=self.lost + other.lost,
        )

    def range(self) -> TensorRange | str:
        """The range, or why there is none."""
        if self.elements == 0:
            return "it was empty in every batch"
        if not self.low <= self.high:
            return f"none of its {self.elements} elements was finite"
        return TensorRange(
            low=self.low,
            high=self.high,
            smallest=self.smallest if math.isfinite(self.smallest) else 0.0,
            elements=self.elements,
            nan=self.nan,
            posinf=self.posinf,
            neginf=self.neginf,
            overflow=self.overflow,
            subnormal=self.subnormal,
            lost=self.lost,
            history=self.history,
        )


def read_quick(low: Format, outputs: Sequence[Any]) -> Seen | None:
    """What `QUICK` found, or None where only `FULL` can tell."""
    lowest, highest, total, smallest, shape, counts, least = outputs
    elements, largest = math.prod(int(size) for size in shape), np.maximum(highest, -lowest)
    if elements == 0:
        return Seen()
    if np.isnan(total) or not np.isfinite(largest) or shape[-1] > LONGEST_ROW:
        return None
    thresholds = Thresholds.of(low).array()
    counted = ((smallest < thresholds) & (thresholds <= largest)) | ALWAYS
    under = np.where(largest < thresholds, float(elements), 0.0)
    under[counted] = counts
    return _seen(lowest, highest, least, under, elements)


def read_full(outputs: Sequence[Any]) -> Seen:
    """What `FULL` found."""
    lowest, highest, smallest, elements, *special, under = outputs
    nan, posinf, neginf = (int(count) for count in special)
    finite = int(elements) - nan - posinf - neginf
    if finite == 0:
        return Seen(elements=int(elements), nan=nan, posinf=posinf, neginf=neginf)
    seen = _seen(lowest, highest, smallest, under, finite)
    return replace(seen, elements=int(elements), nan=nan, posinf=posinf, neginf=neginf)


def _seen(low: Any, high: Any, smallest: Any, under: Any, finite: int) -> Seen:
    zero, lost, subnormal, in_range = (int(count) for count in under)
    return Seen(
        low=float(low),
        high=float(high),
        smallest=float(smallest),
        elements=finite,
        overflow=finite - in_range,
        subnormal=subnormal - zero,
        lost=lost - zero,
    )
