"""Delta debugging: from a set that passes to one of which nothing can be left out.

Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002: ddmin.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def minimise(items: Sequence[T], passes: Callable[[Sequence[T]], bool]) -> tuple[T, ...]:
    """A 1-minimal part of `items`: it passes, and without any one of its items it does not.

    Args:
        items: They pass together; with none of them it fails. Neighbours are tried together, so put together what
            belongs together.
        passes: The question. It need not be monotone.
    """
    kept, parts = tuple(items), 2
    while len(kept) > 1:
        chunks = _split(kept, parts)
        smaller = next((chunk for chunk in chunks if passes(chunk)), None)
        if smaller is not None:
            kept, parts = smaller, 2
            continue
        rests = (_without(chunks, index) for index in range(len(chunks))) if parts > 2 else iter(())
        smaller = next((rest for rest in rests if passes(rest)), None)
        if smaller is not None:
            kept, parts = smaller, max(parts - 1, 2)
        elif parts < len(kept):
            parts = min(2 * parts, len(kept))
        else:
            break
    return kept


def drop(items: Sequence[T], passes: Callable[[Sequence[T]], bool], *, together: int = 1) -> tuple[T, ...]:
    """The same by leaving out: neighbours together first, `together` of them and then half as many, at last singly.

    Few questions for a set of which little has to stay, and with `together` 1 one question an item for a set that is
    nearly minimal.
    """
    kept = tuple(items)
    while True:
        smaller = _sweep(kept, passes, together)
        if together == 1 and smaller == kept:
            return kept
        kept, together = smaller, max(together // 2, 1)


def _sweep(items: tuple[T, ...], passes: Callable[[Sequence[T]], bool], together: int) -> tuple[T, ...]:
    """`items` without those runs of `together` neighbours that can be left out, tried from first to last."""
    kept, start = items, 0
    while start < len(kept):
        rest = kept[:start] + kept[start + together :]
        if rest and passes(rest):
            kept = rest
        else:
            start += together
    return kept


def _split(items: tuple[T, ...], parts: int) -> list[tuple[T, ...]]:
    bounds = [len(items) * index // parts for index in range(parts + 1)]
    return [items[start:end] for start, end in itertools.pairwise(bounds)]


def _without(chunks: list[tuple[T, ...]], index: int) -> tuple[T, ...]:
    return tuple(item for position, chunk in enumerate(chunks) if position != index for item in chunk)
