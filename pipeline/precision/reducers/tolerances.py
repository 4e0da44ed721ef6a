"""Polygraphy's element-wise and max checks, reduced in the graph: its arithmetic, its rule for zeros.

A difference is |candidate - reference| in fp32, 0 where both are the same infinity. It is widened to float64, and there
compared, and divided by |reference|, or by 2.2e-16 where that is zero. An element agrees where either is within its
tolerance; NaN is within none. Unlike Polygraphy's, an empty tensor agrees with nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from pipeline.core.errors import ValidationError
from pipeline.precision.reducers.instrument import Reducer

EPSILON = 2.220446049250313e-16
"""What Polygraphy divides by where the reference is zero."""

BODY = """
Within (r, c, atol, rtol, epsilon, zero)
    => (shape_r, shape_c, apart, max_abs, max_rel, nan_abs, nan_rel, sum_abs, sum_rel) {
    shape_r = Shape(r)
    shape_c = Shape(c)
    difference = Sub(c, r)
    distance = Abs(difference)
    infinite = IsInf(c)
    same = Equal(c, r)
    alike = And(infinite, same)
    settled = Where(alike, zero, distance)
    absolute = Cast <to = 11> (settled)
    is_zero = Equal(r, zero)
    divisor = Where(is_zero, epsilon, r)
    divisor64 = Cast <to = 11> (divisor)
    size = Abs(divisor64)
    relative = Div(absolute, size)
    near_abs = LessOrEqual(absolute, atol)
    near_rel = LessOrEqual(relative, rtol)
    near = Or(near_abs, near_rel)
    far = Not(near)
    ones = Cast <to = 11> (far)
    apart = ReduceSum <keepdims = 0> (ones)
    max_abs = ReduceMax <keepdims = 0> (absolute)
    max_rel = ReduceMax <keepdims = 0> (relative)
    is_nan_abs = IsNaN(absolute)
    is_nan_rel = IsNaN(relative)
    ones_abs = Cast <to = 11> (is_nan_abs)
    ones_rel = Cast <to = 11> (is_nan_rel)
    nan_abs = ReduceSum <keepdims = 0> (ones_abs)
    nan_rel = ReduceSum <keepdims = 0> (ones_rel)
    sum_abs = ReduceSum <keepdims = 0> (absolute)
    sum_rel = ReduceSum <keepdims = 0> (relative)
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What Polygraphy says of two tensors.

    Attributes:
        elements: Elements compared.
        apart: Elements within neither tolerance.
        max_abs: Largest absolute difference; NaN where one is undefined.
        max_rel: Likewise the largest relative one.
        mean_abs: Mean absolute difference.
        mean_rel: Mean relative difference.
    """

    elements: int
    apart: int
    max_abs: float
    max_rel: float
    mean_abs: float
    mean_rel: float

    @property
    def elementwise(self) -> bool:
        """The verdict of `--check-error-stat elemwise`."""
        return self.elements > 0 and self.apart == 0

    def of_max(self, atol: float, rtol: float) -> bool:
        """The verdict of `--check-error-stat max`."""
        return self.elements > 0 and (self.max_abs <= atol or self.max_rel <= rtol)


def reducer(atol: float, rtol: float) -> Reducer:
    """The reducer for two tolerances."""
    constants = {name: np.array(value, np.float64) for name, value in (("atol", atol), ("rtol", rtol))}
    constants |= {  # these two meet the tensors themselves
        "epsilon": np.array(EPSILON, np.float32),
        "zero": np.array(0, np.float32),
    }
    i, d = ir.DataType.INT64, ir.DataType.DOUBLE
    return Reducer(body=BODY, constants=constants, outputs=(i, i, *[d] * 7))


def read(outputs: Sequence[Any]) -> Agreement:
    """What the reducer found.

    Raises:
        ValidationError: The two tensors differ in shape.
    """
    shape_r, shape_c, apart, max_abs, max_rel, nan_abs, nan_rel, sum_abs, sum_rel = outputs
    if shape_r.tolist() != shape_c.tolist():
        raise ValidationError(f"the reference has shape {shape_r.tolist()}, the candidate {shape_c.tolist()}")
    elements = math.prod(shape_r.tolist())
    if elements == 0:
        return Agreement(elements=0, apart=0, max_abs=0.0, max_rel=0.0, mean_abs=0.0, mean_rel=0.0)
    return Agreement(
        elements=elements,
        apart=int(apart),
        max_abs=math.nan if nan_abs else float(max_abs),
        max_rel=math.nan if nan_rel else float(max_rel),
        mean_abs=float(sum_abs) / elements,
        mean_rel=float(sum_rel) / elements,
    )
