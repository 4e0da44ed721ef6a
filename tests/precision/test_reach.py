"""Interval arithmetic holds every value, and constants are followed no further than they reach."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.precision.bounds import intervals

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)
FUNCTIONS = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Neg": np.negative,
    "Abs": np.abs,
    "Relu": lambda x: np.maximum(x, 0.0),
    "Exp": np.exp,
}
UNARY = {"Neg", "Abs", "Relu", "Exp"}


@st.composite
def inside(draw):
    """An interval and a number in it."""
    low, number, high = sorted(draw(st.lists(NUMBERS, min_size=3, max_size=3)))
    return (low, high), number


@pytest.mark.parametrize("op", FUNCTIONS)
@given(left=inside(), right=inside())
def test_results_lie_in_the_interval(op, left, right):
    operands = [left] if op in UNARY else [left, right]
    with np.errstate(all="ignore"):
        value = FUNCTIONS[op](*(number for _, number in operands))
    low, high = intervals.result(op, [interval for interval, _ in operands])
    assert math.isnan(value) or low <= value * (1 + 1e-12 * np.sign(value)) or low <= value
    assert math.isnan(value) or value <= high or value <= high * (1 + 1e-12)


@pytest.mark.parametrize("divisor", [2.2e-309, -2.2e-309])
def test_a_subnormal_divisor_leaves_a_finite_quotient(divisor):
    low, high = intervals.result("Div", [(-1.0, -0.25), (divisor, divisor)])
    assert low <= -0.25 / divisor <= high


@given(data=inside(), floor=NUMBERS, ceiling=NUMBERS)
def test_clip_holds_what_onnx_clips(data, floor, ceiling):
    interval, number = data
    low, high = intervals.result("Clip", [interval, (floor, floor), (ceiling, ceiling)])
    assert low <= np.minimum(np.maximum(number, floor), ceiling) <= high


def test_an_operator_that_is_not_known_may_give_anything():
    assert intervals.result("Einsum", [(0.0, 1.0)]) == (-math.inf, math.inf)


def test_zero_times_an_infinite_mask_is_zero():
    assert intervals.result("Mul", [(0.0, 1.0), (-math.inf, -math.inf)]) == (-math.inf, 0.0)
