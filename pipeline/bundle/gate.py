"""What must hold before anything is shipped."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.core.artifacts import EnginePlans, OnnxModel, PrecisionPlan, ValidationReport, Weights

SHOWN = 5
"""Items named in one refusal; the report has them all."""


def refusals(
    weights: Weights, mixed: OnnxModel, plan: PrecisionPlan, plans: EnginePlans, report: ValidationReport
) -> tuple[str, ...]:
    """Every reason not to ship, one line each; empty where there is none."""
    return (
        *_about_weights(weights, mixed, report),
        *_about_verdict(report, plan),
        *_about_layers(report, plan),
        *_about_plans(plans),
    )


def _about_weights(weights: Weights, mixed: OnnxModel, report: ValidationReport) -> Iterator[str]:
    if not weights.provenance.real:
        yield f"the weights are not the real ones ({weights.provenance.source})"
    for what, provenance in (("the mixed graph was made", mixed.provenance), ("validation ran", report.provenance)):
        if provenance.digest != weights.provenance.digest:
            yield f"{what} with other weights ({provenance.source})"


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
    present = {layer.node for layer in report.layers}
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
