"""How two tensors differ, reduced in the graph sample by sample: templates, and how their results are read.

`axes` are those within a sample, all but the first; none stand for all, and a reduction gives one scalar for the batch.
Squares of samples are summed by Mul and ReduceSum, which ONNX Runtime vectorises; its ReduceSumSquare over some of the
axes takes up to four times as long, and rounds after every element. Nodes stand in an order in which few of the copies
that these need are alive together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.core.errors import ValidationError
from pipeline.precision.reducers.differences import Difference, Spread, relative_errors
from pipeline.precision.reducers.instrument import Reducer

BATCH = """
Batch (r, c) => (shape_r, shape_c, low, high, signal, power, noise) {
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

_BY_SAMPLE = """
    power = ReduceSumSquare <keepdims = 0> ({c})
    d = Sub({c}, {r})
    low = ReduceMin <keepdims = 0> (d, axes)
    high = ReduceMax <keepdims = 0> (d, axes)
    dd = Mul(d, d)
    noise = ReduceSum <keepdims = 0> (dd, axes)
    rr = Mul({r}, {r})
    signal = ReduceSum <keepdims = 0> (rr, axes)
"""
"""What is reduced by sample of a reference and a candidate of these names."""

SAMPLES = f"""
Samples (r, c, axes) => (shape_r, shape_c, low, high, signal, power, noise) {{
    shape_r = Shape(r)
    shape_c = Shape(c)
    {_BY_SAMPLE.format(r="r", c="c")}
}}
"""
"""`BATCH` by sample."""

WIDE = f"""
Wide (r, c, axes) => (shape_r, shape_c, low, high, signal, power, noise) {{
    shape_r = Shape(r)
    shape_c = Shape(c)
    r64 = Cast <to = 11> (r)
    c64 = Cast <to = 11> (c)
    {_BY_SAMPLE.format(r="r64", c="c64")}
}}
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
"""What `BATCH` and `SAMPLES` have not yet said of a second candidate for the same reference, over the whole batch."""

FULL = f"""
Full (r, c, axes, largest, zero)
    => (shape_r, shape_c, low, high, signal, power, noise, nan_r, nan_c, inf_r, inf_c, agree) {{
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
    {_BY_SAMPLE.format(r="r64", c="c64")}
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
    agree = ReduceSum <keepdims = 0> (ones_agree, axes)
}}
"""
"""Exact for every pair: statistics are over elements that are finite in both. NaN never agrees with NaN."""

_F, _D, _I = ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.INT64

batch = Reducer(body=BATCH, constants={}, outputs=(_I, _I, *[_F] * 5))

samples = Reducer(body=SAMPLES, constants={}, outputs=(_I, _I, *[_F] * 5))

wide = Reducer(body=WIDE, constants={}, outputs=(_I, _I, *[_D] * 5))

brief = Reducer(body=BRIEF, constants={}, outputs=(_F, _F, _F))

full = Reducer(
    body=FULL,
    constants={"largest": np.array(np.finfo(np.float32).max), "zero": np.array(0, np.float32)},
    outputs=(_I, _I, *[_D] * 10),
)

BY_NAME = {"batch": batch, "samples": samples, "wide": wide, "full": full}
"""What reduces a candidate. All but `batch` take the axes within a sample."""

SQUARES_LOST_BELOW = 1e-30
"""Mean square from which on what fp32 loses of smaller squares (under 1.2e-38 each) does not count."""

MOST_SUMMED = 1 << 26
"""Elements of a batch from which on sums in fp32 are not trusted."""

Vector = npt.NDArray[Any]


def read(outputs: Sequence[Any], *, first: int, count: int, share: float = 1.0) -> Difference | None:
    """What one of `BY_NAME` found, or None where only `full` can tell.

    Args:
        outputs: What the template gave.
        first: Index of the first sample of the batch.
        count: Samples of the batch.
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
    low, high, signal, noise = (np.atleast_1d(found) for found in (low, high, signal, noise))
    rows, sizes = len(signal), np.maximum(high, -low)
    if not counts and not (_told(sizes, (signal, noise), whole) and _told(sizes.max(), (power,), whole)):
        return None
    nan_r, nan_c, inf_r, inf_c = (int(count) for count in counts[:4]) if counts else (0, 0, 0, 0)
    mismatched = whole // rows - np.atleast_1d(counts[4]) if counts else np.zeros(rows)
    errors = np.where(mismatched > 0, math.inf, relative_errors(noise, signal))
    return Difference(
        elements=round(whole * share),
        max_abs=float(sizes.max()),
        signal=float(signal.sum(dtype=np.float64)),
        power=float(power),
        noise=float(noise.sum(dtype=np.float64)),
        nan_reference=nan_r,
        nan_candidate=nan_c,
        inf_reference=inf_r,
        inf_candidate=inf_c,
        mismatched=int(mismatched.sum()),
        spread=Spread.of(errors, first=first, together=count // rows),
    )


def read_brief(outputs: Sequence[Any], of_first: Sequence[Any], *, share: float = 1.0) -> Difference | None:
    """What `brief` found, without a spread over samples, or None where only `full` can tell.

    Args:
        outputs: What the template gave.
        of_first: What one of `BY_NAME` gave for the same reference and the first candidate.
        share: As for `read`.
    """
    low, high, noise = outputs
    whole, signal = math.prod(of_first[0].tolist()), float(np.sum(of_first[4], dtype=np.float64))
    if whole == 0:
        return Difference()
    size = max(float(high), -float(low))
    if not _told(np.array(size), (np.array(signal), noise), whole):
        return None
    return Difference(elements=round(whole * share), max_abs=size, signal=signal, noise=float(noise))


def _told(sizes: Vector, sums: Sequence[Vector], elements: int) -> bool:
    """Whether sums of squares in fp32 tell the truth: nothing left its range upwards or, where it counts, downwards.

    Args:
        sizes: Largest difference of each row, or of the batch.
        sums: Of the same rows.
        elements: Of the batch.
    """
    least = elements / sizes.size * SQUARES_LOST_BELOW
    trusted = elements <= MOST_SUMMED and all(np.isfinite(values).all() for values in sums)
    return bool(trusted and all(((sizes == 0) | (values >= least)).all() for values in sums))
