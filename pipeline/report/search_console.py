"""What a search found, on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.core.artifacts import Outcome, SearchResult
from pipeline.report import frontier

NAME = 56
"""Columns for the name of a plan or a group."""


def show(console: Console, found: SearchResult) -> None:
    """Print how the search ended, its frontier, what each group buys, and what held on unseen samples.

    Args:
        console: Where to; nothing printed is wider than 100 columns.
        found: The result.
    """
    style = "bold green" if found.outcome is Outcome.FOUND else "bold yellow"
    console.print(Text(str(found.outcome).upper(), style) + Text(f"  {frontier.sentence(found)}", "default"))
    console.print(Text(frontier.reason(found)))
    console.print(Text(f"budget: {frontier.budget(found)}", "dim"))
    console.print(_table(frontier.POINT_HEADERS, frontier.point_rows(found)))
    if found.purchases:
        rows = [row[:-1] for row in frontier.purchase_rows(found)]
        console.print(_table(frontier.PURCHASE_HEADERS[:-1], rows))
    if found.confirmations:
        console.print(_table(("on unseen samples", *frontier.HELD_OUT_HEADERS[1:]), frontier.held_out_rows(found)))
    if found.kept:
        console.print(Text(f"{len(found.kept)} nodes stay fp32 whatever samples say", "dim"))


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for header in headers:
        right = header in frontier.FIGURES
        table.add_column(header, justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows:
        table.add_row(_middle(row[0]), *(Text(cell, "red" if cell.startswith("✗") else "") for cell in row[1:]))
    return table


def _middle(name: str) -> Text:
    """A name without its middle where it is long."""
    half = NAME // 2
    return Text(name if len(name) <= NAME else f"{name[: half - 1]}…{name[-half:]}")
