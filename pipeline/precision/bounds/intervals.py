"""Interval arithmetic on operators that compute each element by itself, or choose among elements.

Ends of intervals are numbers, or arrays of them that broadcast against one another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

End = Any
"""A float, or an array of float64."""

Interval = tuple[End, End]
Operands = Sequence[Interval | None]

ANYTHING: Interval = (-math.inf, math.inf)


def result(op: str, operands: Operands) -> Interval:
    """What `op` may give for operands in these intervals (None: absent or not float); `ANYTHING` where not known."""
    if op not in _RULES or all(operand is None for operand in operands):
        return ANYTHING
    with np.errstate(all="ignore"):
        return _RULES[op](operands)


def follows(op: str) -> bool:
    """Whether large constants are followed through an operator, whatever calibration saw behind it."""
    return op in _FOLLOWED


def is_known(op: str) -> bool:
    """Whether `result` says more than `ANYTHING` of an operator."""
    return op in _RULES


BOUNDING = frozenset(
    """
    Softmax Hardmax Sigmoid HardSigmoid Tanh Erf Sin Cos Sign Softsign
    LayerNormalization InstanceNormalization GroupNormalization LpNormalization MeanVarianceNormalization
    """.split()  # noqa: SIM905 - reads better as a list of words
)
"""Operators whose results do not grow with their operands."""


def _hull(operands: Operands) -> Interval:
    lows, highs = zip(*(operand for operand in operands if operand is not None), strict=True)
    return _least(lows), _most(highs)


def _sum(operands: Operands) -> Interval:
    present = [operand for operand in operands if operand is not None]
    return sum(low for low, _ in present), sum(high for _, high in present)


def _difference(operands: Operands) -> Interval:
    left, right = _two(operands)
    return left[0] - right[1], left[1] - right[0]


def _product(operands: Operands) -> Interval:
    left, right = _two(operands)
    ends = [_times(a, b) for a in left for b in right]
    return _least(ends), _most(ends)


def _quotient(operands: Operands) -> Interval:
    left, right = _two(operands)
    apart = (right[0] > 0.0) | (right[1] < 0.0)
    # Not times a reciprocal: that of a subnormal divisor is infinite where the quotient is not.
    ends = [_over(a, b) for a in left for b in right]
    return np.where(apart, _least(ends), -np.inf), np.where(apart, _most(ends), np.inf)


def _maximum(operands: Operands) -> Interval:
    lows, highs = zip(*(operand for operand in operands if operand is not None), strict=True)
    return _most(lows), _most(highs)


def _minimum(operands: Operands) -> Interval:
    lows, highs = zip(*(operand for operand in operands if operand is not None), strict=True)
    return _least(lows), _least(highs)


def _clip(operands: Operands) -> Interval:
    data, floor, ceiling = (*operands, None, None)[:3]
    low, high = data or ANYTHING
    if floor is not None:
        low, high = np.maximum(low, floor[0]), np.maximum(high, floor[1])
    if ceiling is not None:
        low, high = np.minimum(low, ceiling[0]), np.minimum(high, ceiling[1])
    return low, high


def _negated(operands: Operands) -> Interval:
    low, high = operands[0] or ANYTHING
    return -high, -low


def _absolute(operands: Operands) -> Interval:
    low, high = operands[0] or ANYTHING
    crosses = (low <= 0.0) & (high >= 0.0)
    ends = np.abs(low), np.abs(high)
    return np.where(crosses, 0.0, np.minimum(*ends)), np.maximum(*ends)


def _root(operands: Operands) -> Interval:
    low, high = operands[0] or ANYTHING
    return np.sqrt(np.maximum(low, 0.0)), np.sqrt(np.maximum(high, 0.0))


def _reciprocal(operands: Operands) -> Interval:
    return _quotient(((1.0, 1.0), operands[0]))


def _logarithm(operands: Operands) -> Interval:
    low, high = operands[0] or ANYTHING
    return np.log(np.maximum(low, 0.0)), np.log(np.maximum(high, 0.0))


def _dipping(operands: Operands) -> Interval:
    """Gelu, Mish, SiLU and their like: between min(x, 0), never under -0.5, and max(x, 0)."""
    low, high = operands[0] or ANYTHING
    return np.maximum(np.minimum(low, 0.0), -0.5), np.maximum(high, 0.0)


def _shrinking(operands: Operands) -> Interval:
    """What keeps the sign and makes nothing larger."""
    low, high = operands[0] or ANYTHING
    return np.minimum(low, 0.0), np.maximum(high, 0.0)


def _softplus(operands: Operands) -> Interval:
    low, high = operands[0] or ANYTHING
    return np.logaddexp(0.0, low), np.logaddexp(0.0, high)


def _whole(operands: Operands) -> Interval:
    low, high = operands[0] or ANYTHING
    return np.floor(low), np.ceil(high)


def _rising(function: Callable[[End], End]) -> Callable[[Operands], Interval]:
    """An operator of one operand that never falls."""

    def rule(operands: Operands) -> Interval:
        low, high = operands[0] or ANYTHING
        return function(low), function(high)

    return rule


def _limited(low: float, high: float) -> Callable[[Operands], Interval]:
    """An operator whose results lie between two numbers whatever it reads."""
    return lambda operands: (low, high)


def _least(ends: Sequence[End]) -> End:
    return math.inf if not ends else _fold(np.minimum, ends)


def _most(ends: Sequence[End]) -> End:
    return -math.inf if not ends else _fold(np.maximum, ends)


def _fold(function: Callable[[End, End], End], ends: Sequence[End]) -> End:
    found = ends[0]
    for end in ends[1:]:
        found = function(found, end)
    return found


def _times(left: End, right: End) -> End:
    """A product in which zero times infinity is zero, as it is between the ends of intervals."""
    return np.where((np.asarray(left) == 0.0) | (np.asarray(right) == 0.0), 0.0, np.multiply(left, right))


def _over(left: End, right: End) -> End:
    """A quotient that is zero where the divisor is infinite, or zero is divided."""
    return np.where((np.asarray(left) == 0.0) | np.isinf(right), 0.0, np.divide(left, right))


def _two(operands: Operands) -> tuple[Interval, Interval]:
    left, right = operands[:2]
    return left or ANYTHING, right or ANYTHING


_MOVES = """
    Cast Compress Concat Dropout Expand Flatten Gather GatherElements GatherND Identity Pad Reshape ReverseSequence
    ScatterElements ScatterND Slice Split Squeeze Tile TopK Transpose Trilu Unsqueeze Where DepthToSpace SpaceToDepth
    MaxPool GlobalMaxPool ReduceMax ReduceMin AveragePool GlobalAveragePool ReduceMean
"""
"""Results lie between the smallest and the largest operand (and zero, for padding)."""

_FOLLOWED: dict[str, Callable[[Operands], Interval]] = {
    **dict.fromkeys(_MOVES.split(), _hull),
    "Abs": _absolute,
    "Add": _sum,
    "Clip": _clip,
    "Div": _quotient,
    "Exp": _rising(np.exp),
    "Max": _maximum,
    "Min": _minimum,
    "Mul": _product,
    "Neg": _negated,
    "Relu": _rising(lambda x: np.maximum(x, 0.0)),
    "Sub": _difference,
    "Sum": _sum,
}

_RULES: dict[str, Callable[[Operands], Interval]] = {
    **_FOLLOWED,
    "Atan": _limited(-math.pi / 2, math.pi / 2),
    "Ceil": _whole,
    "Cos": _limited(-1.0, 1.0),
    "Erf": _limited(-1.0, 1.0),
    "Floor": _whole,
    "Gelu": _dipping,
    "HardSigmoid": _limited(0.0, 1.0),
    "HardSwish": _dipping,
    "Hardmax": _limited(0.0, 1.0),
    "Log": _logarithm,
    "Mean": _hull,
    "Mish": _dipping,
    "Reciprocal": _reciprocal,
    "Round": _whole,
    "Sigmoid": _limited(0.0, 1.0),
    "Sign": _limited(-1.0, 1.0),
    "Sin": _limited(-1.0, 1.0),
    "Softmax": _limited(0.0, 1.0),
    "Softplus": _softplus,
    "Softsign": _limited(-1.0, 1.0),
    "Sqrt": _root,
    "Swish": _dipping,
    "Tanh": _limited(-1.0, 1.0),
    "ThresholdedRelu": _shrinking,
}
