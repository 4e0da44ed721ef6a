"""The verdict of a regression run in the forms that people and CI read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.regress.compare import Change, Comparison, Row
from pipeline.report import junit
from pipeline.report.markdown import bullets, escaped, table

SHOWN = 20
"""Rows and differences that text and Markdown list; JUnit and `--json` have them all."""


def markdown(comparisons: Iterable[Comparison]) -> str:
    """For a pull request: one section an engine, what is worse first."""
    return "\n\n".join(_section(item) for item in comparisons) + "\n"


def text(comparisons: Iterable[Comparison]) -> str:
    """For a log: one line a figure that is not the same."""
    return "\n".join(line for item in comparisons for line in _lines(item)) + "\n"


def xml(comparisons: Iterable[Comparison]) -> str:
    """JUnit: one suite an engine, one case a figure."""
    suites = [
        junit.suite(
            item.engine,
            [
                junit.case(row.name, f"{item.engine}.{row.part}", row.change is not Change.WORSE, _sentence(row))
                for row in item.rows
            ],
        )
        for item in comparisons
    ]
    return junit.document("trt-pipeline regress", suites)


def headline(item: Comparison) -> str:
    """Engine, verdict and counts."""
    worse, better = len(item.of(Change.WORSE)), len(item.of(Change.BETTER))
    verdict = f"{worse} figure{'s' if worse > 1 else ''} worse" if worse else "no figure worse"
    seeded = " (SEEDED weights, not the real ones)" if item.seeded else ""
    return f"{item.engine}: {verdict}, {better} better, {len(item.of(Change.SAME))} the same{seeded}"


def offer(item: Comparison) -> str | None:
    """What to do about an improvement."""
    return f"keep the improvement: trt-pipeline baseline update {item.engine}" if item.improved else None


def _section(item: Comparison) -> str:
    mark = "✅" if item.passed else "❌"
    cause = [f"first made worse by its own error: {name or '(no module)'}" for name in item.culprits[:1]]
    moved = [*item.of(Change.WORSE), *item.of(Change.BETTER)]
    rows = [(_mark(row), row.part, row.name, row.was, row.now, row.allowed, row.why) for row in moved]
    differences = list(item.differences)
    advice = offer(item)
    parts = [
        f"## {mark} {escaped(headline(item))}",
        bullets(cause),
        table(("", "figure", "of", "baseline", "now", "allowed", "why"), rows[:SHOWN]),
        f"and {len(rows) - SHOWN} more figures" if len(rows) > SHOWN else "",
        "Different from the baseline:"
        if differences
        else "Nothing differs from the baseline's decisions and versions.",
        bullets(differences[:SHOWN], f"and {len(differences) - SHOWN} more" if len(differences) > SHOWN else None),
        "" if advice is None else escaped(advice),
    ]
    return "\n\n".join(part for part in parts if part)


def _lines(item: Comparison) -> Sequence[str]:
    moved = [*item.of(Change.WORSE), *item.of(Change.BETTER)]
    lines = [f"{'PASSED' if item.passed else 'WORSE'}  {headline(item)}"]
    lines += [f"  {row.change}: {row.part} of {row.name}: {_sentence(row)}" for row in moved[:SHOWN]]
    if len(moved) > SHOWN:
        lines.append(f"  and {len(moved) - SHOWN} more figures")
    lines += [f"  differs: {line}" for line in item.differences[:SHOWN]]
    if len(item.differences) > SHOWN:
        lines.append(f"  and {len(item.differences) - SHOWN} more differences")
    advice = offer(item)
    return [*lines, *([f"  {advice}"] if advice else [])]


def _sentence(row: Row) -> str:
    return f"{row.was} → {row.now}, {row.allowed} allowed{f'; {row.why}' if row.why else ''}"


def _mark(row: Row) -> str:
    return "❌" if row.change is Change.WORSE else "⬆️"
