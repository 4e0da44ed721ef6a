"""Tensors whose values do not fit the low format: constants, what they reach, and what calibration saw.

The claims are closed by construction: a tensor that does not fit claims the node that makes it and every node that
reads it, so that no low consumer rounds it again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import onnx_ir as ir

from pipeline.core.formats import Format
from pipeline.precision.evidence import Evidence, float_operands, float_results
from pipeline.precision.rules.claim import Claim
from pipeline.precision.semantics import WEIGHTED


def constants(evidence: Evidence) -> Iterator[Claim]:
    """Constants and weights beyond the format's range, and every tensor that they can push beyond it."""
    return _each(evidence, _constant_misfit, _constant_magnitude)


def calibrated(evidence: Evidence) -> Iterator[Claim]:
    """Tensors whose observed magnitude, times the margin, is beyond the format's range, or was not finite."""
    return _each(evidence, _calibrated_misfit, _observed_magnitude)


def unobserved(evidence: Evidence) -> Iterator[Claim]:
    """Tensors that calibration could not see."""
    return _each(evidence, _unobserved, lambda *_: math.inf)


def _each(
    evidence: Evidence,
    misfit: Callable[[Evidence, ir.Value], str | None],
    magnitude: Callable[[Evidence, ir.Value], float],
) -> Iterator[Claim]:
    """Claims of makers and readers of each misfit, in the narrowest format that holds its magnitude."""
    for node, row in evidence.rows.items():
        for value in float_operands(node, row):
            if reason := _misfit(evidence, node, value, misfit):
                holder = evidence.holder(node, magnitude(evidence, value))
                yield Claim(node=node, reason=_held(reason, holder), result=False, format=holder)
        for value in float_results(node, row):
            if reason := _misfit(evidence, node, value, misfit):
                holder = evidence.holder(node, magnitude(evidence, value))
                operands = not row.sums or row.op in WEIGHTED
                yield Claim(node=node, reason=_held(reason, holder), operands=operands, format=holder)


def _misfit(
    evidence: Evidence, node: ir.Node, value: ir.Value, misfit: Callable[[Evidence, ir.Value], str | None]
) -> str | None:
    """Why a tensor does not fit where `node` reads or makes it; masked scores do fit, where nothing refuses them."""
    if evidence.masks.of(node, value) is not None:
        return None
    reason, refused = misfit(evidence, value), evidence.masks.refused.get(node)
    return f"{reason}; {refused}" if reason and refused else reason


def _held(reason: str, holder: Format) -> str:
    return reason if holder is Format.FP32 else f"{reason}; {holder} holds it"


def _constant_magnitude(evidence: Evidence, value: ir.Value) -> float:
    """Largest magnitude of a constant, or of what a constant can push a tensor to; infinite for NaN."""
    reach, extent = evidence.reaches.get(value), evidence.extents.get(value)
    found = [item.magnitude for item in (reach, extent) if item is not None]
    return max(found) if found and not any(math.isnan(item) for item in found) else math.inf


def _observed_magnitude(evidence: Evidence, value: ir.Value) -> float:
    extent = evidence.extents[value]
    return math.inf if extent.nonfinite else extent.magnitude


def _constant_misfit(evidence: Evidence, value: ir.Value) -> str | None:
    largest, low = evidence.low.limits.largest, evidence.low
    extent, reach = evidence.extents.get(value), evidence.reaches.get(value)
    if extent is not None and extent.constant:
        if extent.magnitude <= largest and not extent.nonfinite:
            return None
        return f"{value.name} holds {_worst(extent.low, extent.high)}, beyond {low}'s {largest:g}"
    if reach is None or reach.magnitude <= largest:
        return None
    return (
        f"the constant {reach.origin} of magnitude {reach.constant:.3g} can reach {value.name} "
        f"whatever calibration saw, and {low} ends at {largest:g}"
    )


def _calibrated_misfit(evidence: Evidence, value: ir.Value) -> str | None:
    extent = evidence.extents.get(value)
    if extent is None or extent.constant:
        return None
    if extent.nonfinite:
        return f"{value.name} held {extent.nonfinite} non-finite elements in calibration"
    if extent.magnitude <= evidence.usable:
        return None
    low, margin = evidence.low, evidence.spec.overflow_margin
    return (
        f"{value.name} reached {extent.magnitude:.3g} in calibration; "
        f"with a margin of {margin:g} that is beyond {low}'s {low.limits.largest:g}"
    )


def _unobserved(evidence: Evidence, value: ir.Value) -> str | None:
    if value in evidence.extents:
        return None
    return f"{value.name} was not observed in calibration: {evidence.unobserved[str(value.name)]}"


def _worst(low: float, high: float) -> str:
    if not low <= high:
        return "NaN"
    return f"{low if abs(low) >= abs(high) else high:.3g}"
