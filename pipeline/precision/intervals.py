"""Interval arithmetic on the operators that stand between a constant and whatever bounds it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Interval = tuple[float, float]
Operands = Sequence[Interval | None]

ANYTHING: Interval = (-math.inf, math.inf)


def result(op: str, operands: Operands) -> Interval:
    """What `op` may give for operands in these intervals (None: absent or not float); `ANYTHING` where not known."""
    if op not in _RULES or all(operand is None for operand in operands):
        return ANYTHING
    return _RULES[op](operands)


def known(op: str) -> bool:
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
    present = [operand for operand in operands if operand is not None]
    return min(low for low, _ in present), max(high for _, high in present)


def _sum(operands: Operands) -> Interval:
    present = [operand for operand in operands if operand is not None]
    return sum(low for low, _ in present), sum(high for _, high in present)


def _difference(operands: Operands) -> Interval:
    left, right = _two(operands)
    return left[0] - right[1], left[1] - right[0]


def _product(operands: Operands) -> Interval:
    left, right = _two(operands)
    ends = [_times(a, b) for a in left for b in right]
    return min(ends), max(ends)


def _quotient(operands: Operands) -> Interval:
    left, right = _two(operands)
    if right[0] <= 0.0 <= right[1]:
        return ANYTHING
    return _product((left, (1.0 / right[1], 1.0 / right[0])))


def _maximum(operands: Operands) -> Interval:
    present = [operand for operand in operands if operand is not None]
    return max(low for low, _ in present), max(high for _, high in present)


def _minimum(operands: Operands) -> Interval:
    present = [operand for operand in operands if operand is not None]
    return min(low for low, _ in present), min(high for _, high in present)


def _clip(operands: Operands) -> Interval:
    data, floor, ceiling = (*operands, None, None)[:3]
    low, high = data or ANYTHING
    if floor is not None:
        low, high = max(low, floor[0]), max(high, floor[0])
    if ceiling is not None:
        low, high = min(low, ceiling[1]), min(high, ceiling[1])
    return low, high


def _relu(operands: Operands) -> Interval:
    low, high = operands[0] or ANYTHING
    return max(low, 0.0), max(high, 0.0)


def _negated(operands: Operands) -> Interval:
    low, high = operands[0] or ANYTHING
    return -high, -low


def _absolute(operands: Operands) -> Interval:
    low, high = operands[0] or ANYTHING
    return 0.0, max(abs(low), abs(high))


def _exponential(operands: Operands) -> Interval:
    low, high = operands[0] or ANYTHING
    return _exp(low), _exp(high)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700.0 else math.inf


def _times(left: float, right: float) -> float:
    """A product in which zero times infinity is zero, as it is between the ends of intervals."""
    return 0.0 if left == 0.0 or right == 0.0 else left * right


def _two(operands: Operands) -> tuple[Interval, Interval]:
    left, right = operands[:2]
    return left or ANYTHING, right or ANYTHING


_MOVES = """
    Cast Compress Concat Dropout Expand Flatten Gather GatherElements GatherND Identity Pad Reshape ReverseSequence
    ScatterElements ScatterND Slice Split Squeeze Tile TopK Transpose Trilu Unsqueeze Where DepthToSpace SpaceToDepth
    MaxPool GlobalMaxPool ReduceMax ReduceMin AveragePool GlobalAveragePool ReduceMean
"""
"""Results lie between the smallest and the largest operand (and zero, for padding)."""

_RULES: dict[str, Callable[[Operands], Interval]] = {
    **dict.fromkeys(_MOVES.split(), _hull),
    "Abs": _absolute,
    "Add": _sum,
    "Clip": _clip,
    "Div": _quotient,
    "Exp": _exponential,
    "Max": _maximum,
    "Min": _minimum,
    "Mul": _product,
    "Neg": _negated,
    "Relu": _relu,
    "Sub": _difference,
    "Sum": _sum,
}
