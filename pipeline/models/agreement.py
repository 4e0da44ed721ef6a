"""Whether an ONNX model computes what its source computes, at every shape that was tried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.core.artifacts import Check
from pipeline.core.errors import ExportError, GraphError
from pipeline.models.shapes import Array, Case

Run = Callable[[Mapping[str, Array]], Sequence[Array]]
"""Graph inputs by name to graph outputs in order."""

HALF_RTOL = 2.0**-8
"""Relative difference that a half-precision model's outputs may have from the same model in fp32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """What outputs may differ by: |candidate - source| <= atol + rtol * |source|.

    Attributes:
        atol: Absolute part.
        rtol: Relative part.
        rounded: Whether the source computes in half precision: where it overflows, it says nothing of the fp32 graph.
    """

    atol: float
    rtol: float = 0.0
    rounded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Outcome of one case.

    Attributes:
        max_abs: Largest absolute difference of finite elements.
        problem: What is wrong, or None.
    """

    max_abs: float
    problem: str | None = None


def difference(source: Run, candidate: Run, case: Case, outputs: Sequence[str], tolerance: Tolerance) -> Difference:
    """Run both on one case and compare every output."""
    wanted = source(case.feeds)
    try:
        found = candidate(case.feeds)
    except GraphError as error:
        return Difference(max_abs=float("nan"), problem=error.what.splitlines()[0])
    largest = 0.0
    for name, left, right in zip(outputs, wanted, found, strict=True):
        result = _compared(name, left, right, tolerance, nan_allowed=case.padded)
        largest = max(largest, result.max_abs)
        if result.problem is not None:
            return result
    return Difference(max_abs=largest)


def check(
    source: Run, candidate: Run, cases: Iterable[Case], outputs: Sequence[str], tolerance: Tolerance
) -> tuple[Check, Case | None]:
    """Compare on all cases, stopping at the first that fails.

    Returns:
        The check as a record, and the case that failed, if one did.
    """
    largest, names = 0.0, []
    for case in cases:
        result = difference(source, candidate, case, outputs, tolerance)
        shape = ", ".join(f"{axis} {size}" for axis, size in case.sizes.items())
        if result.problem is not None:
            problem = f"{case.name} ({shape}): {result.problem}"
            return Check(name="exported", passed=False, summary=problem, problems=(problem,)), case
        largest = max(largest, result.max_abs)
        names.append(f"{case.name} ({shape})" if shape else case.name)
    if not names:
        raise ExportError("no shape was checked", hint="give at least one sample")
    allowed = f"{tolerance.atol:g}" + (f" + {tolerance.rtol:g} of the value" if tolerance.rtol else "")
    summary = f"largest difference {largest:.3g} (allowed {allowed}) over {len(names)} shapes: {'; '.join(names)}"
    return Check(name="exported", passed=True, summary=summary), None


def _compared(name: str, left: Array, right: Array, tolerance: Tolerance, *, nan_allowed: bool) -> Difference:
    nothing = float("nan")
    if left.shape != right.shape:
        return Difference(max_abs=nothing, problem=f"{name} has shape {right.shape}, expected {left.shape}")
    if not left.size:
        return Difference(max_abs=nothing, problem=f"{name} is empty")
    if left.dtype.kind != "f":
        same = bool(np.array_equal(left, right))
        return Difference(max_abs=0.0 if same else nothing, problem=None if same else f"{name} differs")
    if tolerance.rounded:
        finite = np.isfinite(left)
        left, right = left[finite], right[finite]
    elif not nan_allowed and np.isnan(left).any():
        return Difference(max_abs=nothing, problem=f"{name} is NaN in the source model itself")
    return _distance(name, left.astype(np.float64), right.astype(np.float64), tolerance)


def _distance(name: str, left: Array, right: Array, tolerance: Tolerance) -> Difference:
    finite = np.isfinite(left) & np.isfinite(right)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    if count := int((~finite & ~same).sum()):
        return Difference(max_abs=float("nan"), problem=f"{name} has other NaN or infinities in {count} elements")
    distance = np.abs(right[finite] - left[finite])
    largest = float(distance.max(initial=0.0))
    if bool((distance <= tolerance.atol + tolerance.rtol * np.abs(left[finite])).all()):
        return Difference(max_abs=largest)
    return Difference(max_abs=largest, problem=f"{name} differs by {largest:.3g}, allowed {tolerance.atol:g}")
