"""Run every claim of the project on every engine: `python -m tests.acceptance [PART …]`.

Prints claim, figure and verdict.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline import flow
from pipeline.core.artifacts import EnginePlans, Outcome, SearchResult, ValidationReport
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from tests import acceptance_bundles

ROOT = Path(__file__).parents[1]
ATTENTIONS = {"minilm": 6, "mpnet-base": 12, "bert-base": 12, "smollm2": 30}
BREAKS_IN_FP16 = ("smollm2", "nanoguard")
HARMLESS = ("minilm", "mpnet-base")
SEEDED = ("bert-base",)
FASTER, SMALLER = 5.0, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One claim and what was found."""

    claim: str
    figure: str
    holds: bool


@cache
def run(name: str, policy: str | None = None) -> flow.Results:
    """The whole line for one engine."""
    print(f"  {name}{f' --policy {policy}' if policy else ''} …", file=sys.stderr, flush=True)
    options = flow.Options(weights="auto", policy=policy)
    return flow.run(name, root=ROOT, options=options, progress=Silent())


def fused_attentions() -> Iterator[Row]:
    """Every attention of the mixed plan is one fused kernel."""
    for name, expected in ATTENTIONS.items():
        plans: EnginePlans = run(name).artifact("build")
        fused = [plan.text.fused_attentions if plan.text else 0 for plan in plans.plans]
        claim, figure = f"{name}: {expected} attentions fused", f"{fused} of {expected}"
        yield Row(claim=claim, figure=figure, holds=set(fused) == {expected})


def default_policy_passes() -> Iterator[Row]:
    """Every committed engine passes under its own policy, and is shipped where its weights are real."""
    for name in flow.engines(ROOT):
        results = run(name)
        report: ValidationReport = results.artifact("validate")
        shipped = results.shippable or (results.seeded and name in SEEDED)
        yield Row(claim=f"{name} passes", figure=_figures(report), holds=report.passed and shipped)


def all_fp16_fails() -> Iterator[Row]:
    """What breaks in fp16 is refused, and the first bad layer is named."""
    for name in BREAKS_IN_FP16:
        report: ValidationReport = run(name, "all-fp16").artifact("validate")
        bad = next((layer for layer in report.layers if layer.bad), None)
        named = "no bad layer" if bad is None else f"{bad.node} ({bad.op}, {bad.module}): {bad.reason}"
        yield Row(claim=f"{name} --policy all-fp16 fails", figure=named, holds=not report.passed and bad is not None)


def bisect_mends_nanoguard() -> Iterator[Row]:
    """What bisect returns to fp32 mends all-fp16, with every label right, and is no larger than the default's set."""
    from pipeline.analysis.bisection.bisect import bisect
    from pipeline.analysis.bisection.trials import Case

    results = run("nanoguard", "all-fp16")
    found = bisect(
        Case(
            exported=results.artifact("export"),
            reference=results.reference,
            plan=results.plan,
            ranges=results.ranges.tensors,
            samples=results.artifact("sample"),
            inputs=results.spec.inputs,
            task=results.spec.task,
            tolerances=results.spec.tolerances,
        ),
        Silent(),
    )
    default = sum(Format.FP32 in (item.operands, item.result) for item in run("nanoguard").plan.decisions)
    claim = f"nanoguard: bisect mends all-fp16 with no more than the default's {default} nodes in fp32"
    figure = f"{len(found.returned)} nodes in {found.tries} tries: {found.after.reason}"
    yield Row(claim=claim, figure=figure, holds=found.after.passed and 0 < len(found.returned) <= default)


def search_is_leaner() -> Iterator[Row]:
    """Where fp16 breaks the model, search passes with less fp32 and no more casts than the default policy."""
    for name in BREAKS_IN_FP16:
        results = run(name, "search")
        report: ValidationReport = results.artifact("validate")
        found: SearchResult = results.artifact("search")
        chosen, default = found.points[found.chosen], found.points[found.default]
        leaner = chosen.fp32_nodes < default.fp32_nodes and chosen.casts <= default.casts
        yield Row(
            claim=f"{name} --policy search passes, leaner than the default policy",
            figure=f"{_figures(report)}; {_spent(found)}",
            holds=report.passed and leaner and found.outcome is Outcome.FOUND,
        )


def search_frees() -> Iterator[Row]:
    """Where fp16 harms nothing, search frees nine tenths of what the default policy has in fp32, or says why not."""
    for name in HARMLESS:
        results = run(name, "search")
        found: SearchResult = results.artifact("search")
        chosen, default = found.points[found.chosen], found.points[found.default]
        least = min(point.fp32_nodes for point in found.points)
        rules = ", ".join(sorted({item.rule for item in found.kept}))
        yield Row(
            claim=f"{name} --policy search frees 90% of what may be freed",
            figure=f"{_spent(found)}; {least} have to stay ({rules})",
            holds=results.artifact("validate").passed
            and default.fp32_nodes - chosen.fp32_nodes >= 0.9 * (default.fp32_nodes - least),
        )


def search_keeps_attention() -> Iterator[Row]:
    """Every attention of the plan that search found is one fused kernel."""
    for name in (*HARMLESS, "smollm2"):
        plans: EnginePlans = run(name, "search").artifact("build")
        fused = [plan.text.fused_attentions if plan.text else 0 for plan in plans.plans]
        claim = f"{name} --policy search: {ATTENTIONS[name]} attentions fused"
        yield Row(claim=claim, figure=f"{fused}", holds=set(fused) == {ATTENTIONS[name]})


def _spent(found: SearchResult) -> str:
    chosen, default = found.points[found.chosen], found.points[found.default]
    return (
        f"{chosen.fp32_nodes} nodes in fp32 instead of {default.fp32_nodes}, {chosen.casts} casts instead of "
        f"{default.casts}, {found.trials} trials"
    )


def faster_than_autocast() -> Iterator[Row]:
    """Deciding bert-base's precision costs a fraction of AutoCast's time and memory."""
    from tests.benchmarks import decide

    ours, theirs = decide.run().values()
    speed, memory = theirs.seconds / ours.seconds, theirs.peak_gb / ours.peak_gb
    yield Row(
        claim=f"bert-base: at least {FASTER:g} times faster than AutoCast",
        figure=f"{ours.seconds:.1f} s against {theirs.seconds:.1f} s: {speed:.1f} times",
        holds=speed >= FASTER,
    )
    yield Row(
        claim=f"bert-base: at most 1/{SMALLER:g} of AutoCast's memory",
        figure=f"{ours.peak_gb:.2f} GB against {theirs.peak_gb:.2f} GB: 1/{memory:.1f}",
        holds=memory >= SMALLER,
    )


def _figures(report: ValidationReport) -> str:
    tasks = [f"{task.metric} {task.reference:.4g} -> {task.candidate:.4g}" for task in report.tasks]
    worst = min((output.stats.sqnr_db for output in report.outputs), default=float("nan"))
    compared = sum(layer.stats is not None for layer in report.layers)
    return ", ".join([*tasks, f"outputs {worst:.1f} dB", f"{compared} of {len(report.layers)} layers compared"])


def bundles(claims: Callable[[], Iterator[tuple[str, str, bool]]]) -> Iterator[Row]:
    """Claims about bundles as rows."""
    for claim, figure, holds in claims():
        yield Row(claim=claim, figure=figure, holds=holds)


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "fused": fused_attentions,
    "default": default_policy_passes,
    "all-fp16": all_fp16_fails,
    "bisect": bisect_mends_nanoguard,
    "search": search_is_leaner,
    "search-frees": search_frees,
    "search-fused": search_keeps_attention,
    "autocast": faster_than_autocast,
    "signed": lambda: bundles(acceptance_bundles.signed),
    "equal-cores": lambda: bundles(acceptance_bundles.equal_cores),
}


def main(names: list[str]) -> int:
    """Print one row a claim; 1 if any does not hold."""
    if strangers := [name for name in names if name not in PARTS]:
        sys.exit(f"error: no part named {strangers[0]!r}; there are {', '.join(PARTS)}")
    table = Table("claim", "figure", "verdict", title="acceptance", title_justify="left")
    rows = [row for name in names or PARTS for row in PARTS[name]()]
    for row in rows:
        table.add_row(row.claim, row.figure, "[green]holds[/]" if row.holds else "[red]FAILS[/]")
    Console().print(table)
    return int(not all(row.holds for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
