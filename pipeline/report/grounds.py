"""What the decisions rest on, and what extremes showed, as figures and sentences of a report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from pipeline.core.artifacts import Basis, Decision, Extreme, PrecisionPlan, ValidationReport
from pipeline.core.formats import Format
from pipeline.report import figures

RISKS = 10
"""Decisions at risk that are listed, those with the least margin."""

NARROW = frozenset({Format.FP16, Format.BF16})


def bases(decisions: Iterable[Decision]) -> str:
    """How many of the decisions rest on what, the commonest first."""
    counts = Counter(str(item.basis) for item in decisions)
    return ", ".join(f"{count} by {name}" for name, count in counts.most_common())


def narrow(plan: PrecisionPlan) -> list[Decision]:
    """Decisions that store anything in a format narrower than fp32."""
    return [item for item in plan.decisions if {item.operands, item.result} & NARROW]


def at_risk(plan: PrecisionPlan) -> list[Decision]:
    """Decisions that rest on samples alone, the least margin first."""
    found = [item for item in plan.decisions if item.at_risk]
    return sorted(found, key=lambda item: float("inf") if item.margin is None else item.margin)


def summary(plan: PrecisionPlan) -> str:
    """Why nodes in a low format fit it, in one sentence."""
    low, risky = narrow(plan), at_risk(plan)
    if not low:
        return "No node computes in a low format."
    told = sum(item.basis is Basis.USER for item in low)
    proven = sum(item.basis is Basis.PROOF for item in low)
    parts = [f"{proven} by proof, whatever the input is", f"{len(risky)} at risk beyond the samples"]
    if risky and risky[0].margin is not None:
        parts[-1] += f" (what calibration saw is at least {risky[0].margin:.3g} times under the limit)"
    if told:
        parts.append(f"{told} by a user's word")
    return f"{len(low)} nodes are in a low format: {', '.join(parts)}."


def growing(plan: PrecisionPlan) -> Iterator[str]:
    """Tensors of which calibration may not have seen enough, a line each."""
    for item in plan.growing:
        steps = " → ".join(f"{magnitude:.3g}" for magnitude in item.magnitudes)
        yield f"{item.tensor}: {steps} after each batch, limit {item.limit:g}"


def extremes(report: ValidationReport) -> str | None:
    """What came of the extremes, in one sentence; None where none was tried."""
    if not report.extremes:
        return None
    broken = [item for item in report.extremes if not item.passed]
    if not broken:
        return f"{len(report.extremes)} extremes tried, all finite: {', '.join(item.name for item in report.extremes)}"
    return f"{len(broken)} of {len(report.extremes)} extremes broke it: {', '.join(item.name for item in broken)}"


def verdict(item: Extreme) -> str:
    """What came of one extreme."""
    if item.first is None:
        return "finite wherever fp32 is"
    return f"{item.first} is NaN or infinite where fp32 is finite, {item.broken} layers in all"


def extreme_rows(report: ValidationReport) -> Iterator[tuple[str, str, str, str]]:
    """Name, inputs, SQNR of the worst output, and what came of it."""
    for item in report.extremes:
        note = f" ({item.note})" if item.note else ""
        yield item.name, item.inputs, figures.db(item.sqnr_db), verdict(item) + note
