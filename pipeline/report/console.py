"""The verdict on a terminal."""

from __future__ import annotations

import math

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from pipeline.core.artifacts import Cause, Check, Contribution, GpuCheck, Layer, TaskVerdict, ValidationReport
from pipeline.report import figures, grounds, module_tree
from pipeline.report.module_tree import Branch

WORST = 10
NEAREST = 5
"""Layers that are shown where none is bad."""

FAILURES = 5
CAUSES = 3
MODULES = 5
MADE = 3
SHARES = "shares are of the error power with everything rounding; one can pass 100 %: errors cancel, or reinforce"
NAME = 40
"""Columns for the name of a layer: what says most stands at its end."""


def show(console: Console, report: ValidationReport, *, where: str | None = None) -> None:
    """Print verdict, outputs, worst layers, and where the full report is.

    Args:
        console: Where to; nothing printed is wider than 100 columns.
        report: The verdict.
        where: Path of the full report as a person would write it.
    """
    console.print(_verdict(report))
    for line in report.failures[:FAILURES]:
        console.print(Padding(Text(line, "red"), (0, 0, 0, 2), expand=False))
    if len(report.failures) > FAILURES:
        console.print(Text(f"  and {len(report.failures) - FAILURES} more"))
    for cause in report.causes[:CAUSES]:
        console.print(_cause(cause))
    if len(report.causes) > CAUSES:
        console.print(Text(f"  and {len(report.causes) - CAUSES} more causes", "dim"))
    _show_made(console, report.made)
    _show_outputs(console, report)
    _show_extremes(console, report)
    if worst := figures.worst(report, NEAREST if report.passed else WORST):
        console.print(_layers(worst))
    if made := module_tree.top(report.layers, MODULES):
        console.print(_modules(made))
    if final := module_tree.most(report.contributions, MODULES):
        console.print(_final(final))
        console.print(Text(SHARES, "dim"))
    _show_gpu(console, report.gpu)
    for line in report.not_run:
        console.print(Text(f"not run: {line}", "yellow"))
    if where is not None:
        console.print(Text("full report: ") + Text(where, "bold"), soft_wrap=True)


def _show_extremes(console: Console, report: ValidationReport) -> None:
    """What came of inputs at the edge of what the spec admits."""
    if tried := grounds.extremes(report):
        console.print(Text(tried, "" if all(item.passed for item in report.extremes) else "red"))


def _show_made(console: Console, made: tuple[Check, ...]) -> None:
    """What was changed beyond casts: rescaled layers, compensated ones."""
    for check in made:
        lines = [*check.notes, *check.unobservable]
        shown = [*lines[:MADE], *([f"and {len(lines) - MADE} more"] if len(lines) > MADE else [])]
        text = Text(f"{check.name}: ", "bold") + Text(check.summary, "default")
        for line in shown:
            text += Text(f"\n{line}", "dim")
        console.print(Padding(text, (0, 0, 0, 2), expand=False))


def _verdict(report: ValidationReport) -> Text:
    head = Text("PASSED", "bold green") if report.passed else Text("NOT PASSED", "bold red")
    bad = sum(layer.bad for layer in report.layers)
    total, compared = len(report.layers), figures.compared(report)
    text = f"  {report.engine}, policy {report.policy}: {compared} of {total} layers compared, {bad} bad"
    seeded = Text("" if report.provenance.real else "  SEEDED WEIGHTS", "bold yellow")
    return head + Text(text, "default") + seeded


def _show_outputs(console: Console, report: ValidationReport) -> None:
    """Outputs, and the task metric where there is one."""
    console.print(_outputs(report))
    if report.tasks:
        console.print(_tasks(report.tasks))


def _outputs(report: ValidationReport) -> Table:
    table = _table("output", ">SQNR", ">worst sample", "origin", "verdict")
    for item in report.outputs:
        sqnr, worst = figures.db(item.stats.sqnr_db), figures.worst_sample(item.stats)
        table.add_row(Text(item.name), sqnr, worst, str(item.origin), _mark(item.passed, item.reason))
    return table


def _tasks(tasks: tuple[TaskVerdict, ...]) -> Table:
    table = _table("task", ">fp32", ">mixed", "origin", "verdict")
    for task in tasks:
        values = (f"{task.reference:.6g}", f"{task.candidate:.6g}")
        table.add_row(Text(task.metric), *values, str(task.origin), _mark(task.passed, task.reason))
    return table


def _layers(layers: list[Layer]) -> Table:
    """The worst layers: why they are bad, or, where none is, how the worst sample stands."""
    bad = any(layer.bad for layer in layers)
    title, last = ("worst layers", "why") if bad else ("layers nearest their floor", ">worst sample")
    table = _table(title, "op", "in", ">SQNR", ">floor", last)
    for layer in layers:
        sqnr, worst = (
            ("–", "–") if layer.stats is None else (figures.db(layer.stats.sqnr_db), figures.worst_sample(layer.stats))
        )
        comment = (layer.reason or "") if bad else worst
        cells = (_tail(layer.node), layer.op, str(layer.result), sqnr, figures.db(layer.floor_db), comment)
        table.add_row(*(Text(cell, "red" if layer.bad else "") for cell in cells))
    return table


def _cause(cause: Cause) -> Padding:
    place = f"{cause.part or cause.op} in {cause.module}" if cause.module else cause.part or cause.op
    text = (
        Text("cause: ", "bold")
        + Text(f"{_tail(cause.nodes[0])} ({place}) {cause.why}")
        + Text(f"\n{cause.mend}", "dim")
    )
    return Padding(text, (0, 0, 0, 2), expand=False)


def _modules(branches: list[Branch]) -> Table:
    table = _table("where error is made", ">share", ">layers", ">bad")
    for item in branches:
        name = Text(_tail(".".join(item.path)) or "model")
        table.add_row(name, f"{item.share:.1%}", str(item.layers), str(item.bad))
    return table


def _show_gpu(console: Console, check: GpuCheck | None) -> None:
    if check is None:
        return
    changed = [view for view in check.views if view.fusion_changes]
    both = sum(view.apart_db is not None for view in check.views)
    if changed:
        text = f"at {len(changed)} of {both} tensors that both hand out, first at {_tail(changed[0].tensor)}"
        console.print(Text("engine and tapped: ", "bold") + Text("fusion changes the numbers ", "red") + Text(text))
    elif check.views:
        console.print(Text("engine and tapped: ", "bold") + Text(f"alike at all {both} tensors that both hand out"))
    if check.latencies:
        table = _table(f"latency on {check.gpu}", "CUDA graphs", ">median", ">p99")
        for item in check.latencies:
            figures_ms = (f"{item.median_ms:.3f} ms", f"{item.p99_ms:.3f} ms")
            table.add_row(Text(item.engine), "on" if item.graphs else "off", *figures_ms)
        console.print(table)
    for note in check.notes:
        console.print(Text(f"not run: {note}", "yellow"))


def _final(items: list[Contribution]) -> Table:
    table = _table("final error with only this module rounding", ">share", ">rounding nodes")
    for item in items:
        share = Text("breaks it", "red") if math.isinf(item.noise) else Text(f"{item.share:.1%}")
        table.add_row(Text(_tail(item.module)), share, str(item.nodes))
    return table


def _table(*headers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for header in headers:
        right = header.startswith(">")
        table.add_column(header.removeprefix(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    return table


def _mark(passed: bool, reason: str) -> Text:
    return Text("✓ ", "green") + Text(reason, "default") if passed else Text(f"✗ {reason}", "red")


def _tail(name: str) -> str:
    return name if len(name) <= NAME else f"…{name[1 - NAME :]}"
