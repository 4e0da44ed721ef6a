"""Whether calibration saw enough: tensors whose range still grew when it ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipeline.core.artifacts import ActivationRanges, Decision, Growing
from pipeline.core.formats import Format
from pipeline.precision.evidence import Evidence, float_results
from pipeline.precision.policy.basis import proves

GREW = 1.01
"""Factor by which a range has to grow over the last half of calibration to be called growing."""

NEAR = 4.0
"""How many times the margin that overflows are judged by may lie between a tensor and its format's limit."""


def growing(evidence: Evidence, decisions: Iterable[Decision], ranges: ActivationRanges) -> tuple[Growing, ...]:
    """Tensors kept in a low format that grew in the last half and are near its limit, the nearest first.

    Tensors that bounds prove to fit are not among them, and neither is anything where there was one batch only.
    """
    found = [item for item in _candidates(evidence, decisions, ranges) if _grew(item.magnitudes)]
    return tuple(sorted(found, key=lambda item: item.limit / item.magnitudes[-1]))


def _candidates(evidence: Evidence, decisions: Iterable[Decision], ranges: ActivationRanges) -> Iterator[Growing]:
    nodes = {str(node.name): node for node in evidence.rows}
    for decision in decisions:
        if decision.result in (None, Format.FP32):
            continue
        limit = decision.result.limits.largest
        for value in float_results(nodes[decision.node], evidence.rows[nodes[decision.node]]):
            if evidence.masks.of(nodes[decision.node], value) is not None:
                continue  # what was masked, and when that was first seen, says nothing
            seen = ranges.tensors.get(str(value.name))
            near = seen is not None and seen.magnitude * evidence.spec.overflow_margin * NEAR >= limit
            if seen is not None and near and not proves(evidence, value, decision.result):
                yield Growing(tensor=str(value.name), magnitudes=seen.history, limit=limit)


def _grew(magnitudes: tuple[float, ...]) -> bool:
    return len(magnitudes) > 1 and magnitudes[-1] > GREW * magnitudes[len(magnitudes) // 2 - 1]
