"""Progress on stderr: bars where there is a terminal, plain lines where there is none."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

EVERY = 10.0
"""Seconds between two plain lines about the same work."""


class Reporter:
    """A `core.progress.Progress` for people; use it as a context manager.

    Args:
        verbosity: -1 shows warnings only, 0 progress and notes, 1 the end of every piece of work too.
        console: Where to; stderr by default.
    """

    def __init__(self, *, verbosity: int = 0, console: Console | None = None) -> None:
        self.warnings: list[str] = []
        self._verbosity = verbosity
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
            disable=verbosity < 0 or not self._console.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Start drawing."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        self._bars.stop()

    def advance(self, what: str, done: float, total: float | None = None) -> None:
        """Move the bar of `what`, or say where it stands."""
        if self._verbosity < 0:
            return
        if self._console.is_terminal:
            self._draw(what, done, total)
        else:
            self._say(what, done, total)

    def note(self, text: str) -> None:
        """Print one line."""
        if self._verbosity >= 0:
            self._clear()
            self._console.print(escape(text))

    def warn(self, text: str) -> None:
        """Print one line, and keep it."""
        self.warnings.append(text)
        self._console.print(f"[yellow]warning:[/] {escape(text)}")

    def _draw(self, what: str, done: float, total: float | None) -> None:
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(escape(what), total=total)
        self._bars.update(self._tasks[what], completed=done, total=total)

    def _say(self, what: str, done: float, total: float | None) -> None:
        now = time.monotonic()
        finished = total is not None and done >= total
        first = what not in self._said
        if first or now - self._said[what] >= EVERY or (finished and self._verbosity > 0):
            self._said[what] = now
            self._console.print(escape(f"  {what}: {_amount(done, total)}"))

    def _clear(self) -> None:
        """A note begins new work: drop the bars of what is done."""
        for what, task in list(self._tasks.items()):
            if self._bars.tasks and all(item.finished for item in self._bars.tasks if item.id == task):
                self._bars.remove_task(task)
                del self._tasks[what]


def _amount(done: float, total: float | None) -> str:
    return f"{done:g}" if total is None else f"{done:g} of {total:g}"
