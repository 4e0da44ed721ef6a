"""How a stage tells whoever runs it what it is doing."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what a stage has to say while it runs. All calls are cheap and may be ignored."""

    def advance(self, what: str, done: float, total: float | None = None) -> None:
        """`done` of `total` units of `what` are finished (`total` is None where unknown)."""

    def note(self, text: str) -> None:
        """One line a person should see."""

    def warn(self, text: str) -> None:
        """One line a person should act on; kept for the report."""


class Silent:
    """Says nothing."""

    def advance(self, what: str, done: float, total: float | None = None) -> None:
        """Ignore it."""

    def note(self, text: str) -> None:
        """Ignore it."""

    def warn(self, text: str) -> None:
        """Ignore it."""
