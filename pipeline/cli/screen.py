"""How records are laid out on a terminal: never wider than 100 columns, readable without one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 100


def console() -> Console:
    """A console for stdout: as wide as the terminal up to `WIDTH`, exactly `WIDTH` where there is none."""
    probe = Console(highlight=False)
    return Console(highlight=False, width=min(probe.width, WIDTH) if probe.is_terminal else WIDTH)


def facts(screen: Console, rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values in two columns; rows whose value is None or empty are left out."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        if value is not None and value not in ("", ()):
            table.add_row(name, value if isinstance(value, Text) else Text(str(value)))
    screen.print(table)


def grid(
    screen: Console, headers: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None
) -> None:
    """Print a table; columns whose header starts with `>` are aligned right."""
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", padding=(0, 1))
    for header in headers:
        right = header.startswith(">")
        table.add_column(header.removeprefix(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(str(cell)) for cell in row))
    screen.print(table)


def relative(path: Path, root: Path) -> str:
    """`path` as a person in `root` would write it."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
