"""What came out of one run, as a person looks at it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline.runtime.arrays import Array

if TYPE_CHECKING:
    from pipeline.runtime.tokenizer import Tokenizer

FIRST = 6
BEST = 5
ROWS = 8
FEWEST, MOST = 2, 2000
"""Sizes of a last axis that look like classes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """One candidate.

    Attributes:
        label: A token, or the number of a class.
        share: Its softmax.
    """

    label: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The best candidates of one position.

    Attributes:
        where: Which position, in words.
        picks: The best, the best first.
    """

    where: str
    picks: tuple[Pick, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One output.

    Attributes:
        name: Its name.
        dtype: NumPy name of its element type.
        shape: Its shape.
        elements: Number of elements.
        nonfinite: How many of them are NaN or infinite.
        first: The first values.
        low: Smallest finite value; None where there is none.
        high: Largest finite value; likewise.
        mean: Mean of the finite values; likewise.
        best: Candidates by softmax, where the output looks like scores of tokens or classes.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    elements: int
    nonfinite: int
    first: tuple[float, ...]
    low: float | None
    high: float | None
    mean: float | None
    best: tuple[Row, ...]


def of(name: str, array: Array, feeds: Mapping[str, Array], tokenizer: Tokenizer | None) -> Summary:
    """Summarise one output of a run on `feeds`."""
    values = array.astype(np.float64).ravel()
    finite = values[np.isfinite(values)]
    some = finite.size > 0
    return Summary(
        name=name,
        dtype=array.dtype.name,
        shape=array.shape,
        elements=values.size,
        nonfinite=values.size - finite.size,
        first=tuple(float(value) for value in values[:FIRST]),
        low=float(finite.min()) if some else None,
        high=float(finite.max()) if some else None,
        mean=float(finite.mean()) if some else None,
        best=tuple(_best(array, feeds, tokenizer)),
    )


def _best(array: Array, feeds: Mapping[str, Array], tokenizer: Tokenizer | None) -> Iterator[Row]:
    """Candidates at masked words or after the last one, or by class; nothing for other outputs."""
    if array.dtype.kind != "f":
        return
    ids = feeds.get("input_ids")
    if array.ndim == 3 and tokenizer is not None and ids is not None and array.shape[-1] >= tokenizer.size:
        for row, position, where in _positions(ids, feeds, tokenizer):
            yield Row(where=where, picks=tuple(_picks(array[row, position], tokenizer.word)))
    elif array.ndim == 2 and FEWEST <= array.shape[1] <= MOST and not _is_unit(array):
        for row, scores in enumerate(array[:ROWS]):
            yield Row(where=f"classes, row {row}", picks=tuple(_picks(scores, str)))


def _is_unit(array: Array) -> bool:
    """Whether rows have length one: embeddings, and no scores."""
    return bool(np.allclose(np.linalg.norm(array.astype(np.float64), axis=1), 1.0, atol=1e-2))


def _positions(ids: Array, feeds: Mapping[str, Array], tokenizer: Tokenizer) -> Iterator[tuple[int, int, str]]:
    mask = feeds.get("attention_mask", np.ones_like(ids))
    for row, tokens in enumerate(ids[:ROWS]):
        masked = np.flatnonzero(tokens == tokenizer.mask) if tokenizer.mask is not None else np.array([], int)
        for position in masked[:ROWS]:
            yield row, int(position), f"text {row}, masked word {int(position)}"
        used = np.flatnonzero(mask[row])
        if not masked.size and used.size:
            yield row, int(used[-1]), f"text {row}, next word"


def _picks(scores: Array, label: Any) -> Iterator[Pick]:
    shares = _shares(scores.astype(np.float64))
    for index in np.argsort(-shares, kind="stable")[:BEST]:
        yield Pick(label=_shown(label(int(index))), share=float(shares[index]))


def _shares(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The scores' softmax; scores that are shares already stay."""
    if np.all(scores >= 0) and abs(scores.sum() - 1.0) <= 1e-3:
        return scores
    shifted = np.exp(scores - np.max(scores))
    return np.asarray(shifted / shifted.sum())


def _shown(label: str) -> str:
    """Blanks and line ends made visible."""
    return label if label.strip() == label and label.isprintable() else json.dumps(label, ensure_ascii=False)
