"""What must hold before anything is shipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline.core.artifacts import EnginePlans, OnnxModel, Overrides, PrecisionPlan, ValidationReport, Weights
from pipeline.core.errors import ShipError

SHOWN = 5
"""Items named in one refusal; the report has them all."""

UNSTATED = frozenset({"", "NOASSERTION", "NONE", "UNKNOWN"})
"""What stands for a licence that nobody stated, in upper case."""


class Concern(StrEnum):
    """What a refusal is about, and so which option overrides it."""

    WEIGHTS = "weights"
    PLAN = "plan"
    LICENCE = "licence"
    VALIDATION = "validation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One reason not to ship."""

    concern: Concern
    text: str


def refusals(
    weights: Weights, mixed: OnnxModel, graph: str, plan: PrecisionPlan, plans: EnginePlans, report: ValidationReport
) -> tuple[Refusal, ...]:
    """Every reason not to ship; empty where there is none.

    Args:
        weights: The checkpoint.
        mixed: The mixed graph.
        graph: Digest of its files as they are now.
        plan: Its precision plan.
        plans: The TensorRT plans.
        report: The verdict.
    """
    return (
        *_of(Concern.WEIGHTS, _about_weights(weights, mixed, report)),
        *_of(Concern.LICENCE, _about_licence(weights)),
        *_of(Concern.PLAN, _about_marks(plans)),
        *_of(Concern.VALIDATION, _about_subjects(report, graph, plans)),
        *_of(Concern.VALIDATION, _about_verdict(report, plan)),
        *_of(Concern.VALIDATION, _about_layers(report, plan)),
        *_of(Concern.VALIDATION, _about_plans(plans)),
    )


def require(name: str, found: tuple[Refusal, ...], overrides: Overrides) -> tuple[str, ...]:
    """Refuse, unless every reason is overridden; gives those that are.

    Raises:
        ShipError: A reason is not overridden.
    """
    overridden = {Concern.LICENCE: overrides.unlicensed, Concern.VALIDATION: overrides.unvalidated}
    standing = [item for item in found if not overridden.get(item.concern, False)]
    if standing:
        listing = "".join(f"\n  - {item.text}" for item in standing)
        raise ShipError(f"refused to ship{listing}", where=name, hint=_hint({item.concern for item in standing}))
    return tuple(item.text for item in found)


def _hint(concerns: set[Concern]) -> str:
    if Concern.VALIDATION in concerns:
        return "report.html shows each layer and its reason"
    if Concern.LICENCE in concerns:
        return "state `licence` in engine.toml, or give --allow-unlicensed if you may ship them all the same"
    if Concern.PLAN in concerns:
        return "set build.debug_tensors to false in engine.toml, which makes another plan"
    return "run with WEIGHTS=pretrained, and ship what was made from that"


def _of(concern: Concern, lines: Iterator[str]) -> Iterator[Refusal]:
    return (Refusal(concern=concern, text=line) for line in lines)


def _about_weights(weights: Weights, mixed: OnnxModel, report: ValidationReport) -> Iterator[str]:
    if not weights.provenance.real:
        yield f"the weights are not the real ones ({weights.provenance.source})"
    for what, provenance in (("the mixed graph was made", mixed.provenance), ("validation ran", report.provenance)):
        if provenance.digest != weights.provenance.digest:
            yield f"{what} with other weights ({provenance.source})"


def _about_licence(weights: Weights) -> Iterator[str]:
    if weights.provenance.licence.strip().upper() in UNSTATED:
        yield f"nobody stated a licence of the weights ({weights.provenance.source})"


def _about_marks(plans: EnginePlans) -> Iterator[str]:
    for item in plans.plans:
        if any("debug" in flag.lower() for flag in item.flags):
            yield f"{item.path.name} hands out its inner tensors: build.debug_tensors is on"


def _about_subjects(report: ValidationReport, graph: str, plans: EnginePlans) -> Iterator[str]:
    if report.subjects.get("mixed") != graph:
        yield "validation ran on another mixed graph"
    for item in plans.plans:
        if report.subjects.get(item.path.name) != item.digest:
            yield f"validation ran on another {item.path.name}"


def _about_verdict(report: ValidationReport, plan: PrecisionPlan) -> Iterator[str]:
    if not report.passed:
        yield f"validation did not pass: {_some(report.failures) or 'no reason given'}"
    if report.policy != plan.policy:
        yield f"validation ran under policy {report.policy!r}, the plan was made under {plan.policy!r}"
    if failed := [f"{item.name} ({item.origin})" for item in report.outputs if not item.passed]:
        yield f"outputs out of tolerance: {_some(failed)}"
    if failed := [f"{item.metric} ({item.origin})" for item in report.tasks if not item.passed]:
        yield f"task metrics out of tolerance: {_some(failed)}"


def _about_layers(report: ValidationReport, plan: PrecisionPlan) -> Iterator[str]:
    if bad := [layer.tensor for layer in report.layers if layer.bad]:
        yield f"bad layers: {_some(bad)}"
    present = {layer.node for layer in report.layers} | report.added.keys()
    if missing := [item.node for item in plan.decisions if item.result is not None and item.node not in present]:
        yield f"layers missing from the report: {_some(missing)}"
    if not any(layer.stats is not None and layer.stats.elements > 0 for layer in report.layers):
        yield "no layer was compared"


def _about_plans(plans: EnginePlans) -> Iterator[str]:
    for item in plans.plans:
        if not item.checks:
            yield f"{item.path.name} has no delivered-precision checks"
        for check in item.checks:
            if not check.passed:
                yield f"{item.path.name}, check {check.name}: {_some(check.problems) or check.summary}"


def _some(items: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return "; ".join(items[:SHOWN]) + more
