"""The verdict as Markdown, for a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from pipeline.core.artifacts import Check, EnginePlan, EnginePlans, PrecisionPlan, SearchResult, ValidationReport
from pipeline.report import figures, frontier, grounds

WORST = 10
FAILURES = 10


def render(
    report: ValidationReport, plan: PrecisionPlan, plans: EnginePlans, search: SearchResult | None = None
) -> str:
    """A summary: verdict, outputs, worst layers, plans, and what a search found."""
    parts = [
        _head(report),
        bullets(report.failures[:FAILURES], "…" if len(report.failures) > FAILURES else None),
        bullets(
            [f"cause: {item.nodes[0]} ({item.part or item.op}): {item.why}; {item.mend}" for item in report.causes[:3]]
        ),
        bullets([line for check in report.made for line in _made(check)]),
        table(("output", "origin", "SQNR", "worst sample", "verdict"), _output_rows(report)),
        table(("task", "origin", "fp32", "mixed", "verdict"), _task_rows(report)),
        table(("layer", "op", "in", "SQNR", "floor", "why"), _layer_rows(report)),
        table(("plan", "targets", "MB", "kernels", "fused attentions", "casts alone"), _plan_rows(plans)),
        f"Nodes: {', '.join(f'{count} {kind}' for kind, count in figures.formats(plan).items())}.",
        bullets([line for item in plans.plans for line in _lost(item)]),
        bullets([grounds.summary(plan), *grounds.growing(plan)]),
        table(("extreme", "inputs", "SQNR", "verdict"), grounds.extreme_rows(report)),
        *(() if search is None else _search(search)),
        bullets([f"not run: {line}" for line in report.not_run]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _made(check: Check) -> Iterable[str]:
    """What was changed beyond casts."""
    yield f"{check.name}: {check.summary}"
    yield from check.notes[:FAILURES]


def _head(report: ValidationReport) -> str:
    verdict = "✅ passed" if report.passed else "❌ not passed"
    bad = sum(layer.bad for layer in report.layers)
    seeded = "" if report.provenance.real else " **Seeded weights: not shippable.**"
    return (
        f"## {escaped(report.engine)}: {verdict}\n\n"
        f"Policy {escaped(report.policy)}, {figures.compared(report)} of {len(report.layers)} layers compared "
        f"on {report.samples} samples, {bad} bad.{seeded}"
    )


def _output_rows(report: ValidationReport) -> Iterable[Sequence[str]]:
    for item in report.outputs:
        stats = item.stats
        verdict = _verdict(item.passed, item.reason)
        yield item.name, item.origin, figures.db(stats.sqnr_db), figures.worst_sample(stats), verdict


def _task_rows(report: ValidationReport) -> Iterable[Sequence[str]]:
    for task in report.tasks:
        yield (
            task.metric,
            task.origin,
            f"{task.reference:.6g}",
            f"{task.candidate:.6g}",
            _verdict(task.passed, task.reason),
        )


def _layer_rows(report: ValidationReport) -> Iterable[Sequence[str]]:
    for layer in figures.worst(report, WORST):
        sqnr = figures.db(layer.stats.sqnr_db if layer.stats else None)
        why = f"❌ {layer.reason}" if layer.bad else layer.reason or ""
        yield layer.tensor, layer.op, layer.result, sqnr, figures.db(layer.floor_db), why


def _plan_rows(plans: EnginePlans) -> Iterable[Sequence[str]]:
    for item in plans.plans:
        text = item.text
        kernels = (
            ("", "", "")
            if text is None
            else (str(len(text.kernels)), str(text.fused_attentions), str(text.cast_kernels))
        )
        yield f"{item.flavour} {item.version}", ", ".join(item.targets), f"{item.size / 1e6:.1f}", *kernels


def _lost(plan: EnginePlan) -> list[str]:
    """Fused kernels of the all-low plan that cost kernels to lose, and how many are only grouped otherwise."""
    split = [item for item in plan.lost if item.more_kernels > 0]
    lines = [
        f"lost fusion: {', '.join(item.kernels)}: {item.more_kernels} kernels and {item.more_bytes / 1e6:.2f} MB more, "
        f"because of {item.decision or 'TensorRT'}: {item.reason}"
        for item in split
    ]
    regrouped = sum(len(item.kernels) for item in plan.lost if item.more_kernels <= 0)
    return lines + ([f"{regrouped} fused kernels are grouped otherwise, at no kernel more"] if regrouped else [])


def _search(found: SearchResult) -> tuple[str, ...]:
    return (
        f"### Search\n\n{escaped(frontier.sentence(found))} {escaped(frontier.reason(found))} "
        f"Budget: {escaped(frontier.budget(found))}.",
        table(frontier.POINT_HEADERS, frontier.point_rows(found)),
        table(frontier.PURCHASE_HEADERS, frontier.purchase_rows(found)),
        table(
            tuple(f"held out: {name}" if name == "plan" else name for name in frontier.HELD_OUT_HEADERS),
            frontier.held_out_rows(found),
        ),
    )


def _verdict(passed: bool, reason: str) -> str:
    return f"{'✅' if passed else '❌'} {reason}"


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, or nothing where there is no row."""
    lines = [f"| {' | '.join(escaped(cell) for cell in row)} |" for row in rows]
    head = [f"| {' | '.join(headers)} |", f"|{'---|' * len(headers)}"]
    return "\n".join([*head, *lines]) if lines else ""


def bullets(lines: Sequence[str], last: str | None = None) -> str:
    """A list, with a last item that is not of it."""
    return "\n".join(f"- {escaped(line)}" for line in (*lines, *([last] if last else [])))


def escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(str(text).split()))
