"""Meters of the task metrics: each accumulates one figure over batches.

The figure is taken from the model's first output. NaN in that output makes it NaN, and so does having seen nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import ValidationError
from pipeline.data.samples import Array

TOKENS = "input_ids"
MASK = "attention_mask"
LABEL = "label"

Arrays = Mapping[str, Array]


class Meter(Protocol):
    """Accumulates one metric over batches."""

    def update(self, inputs: Arrays, outputs: Arrays, expected: Arrays) -> None:
        """Take one batch.

        Args:
            inputs: What the model was given.
            outputs: What it gave, in the order of the graph's outputs; the first one counts.
            expected: Labels by name, without the prefix `expected.`.

        Raises:
            ValidationError: A label or an input that the metric needs is missing, or shapes do not fit.
        """

    def value(self) -> float:
        """The figure so far; NaN where an output was NaN or nothing was seen."""

    def worsening(self, reference: float, candidate: float) -> float:
        """How much worse `candidate` is than `reference`, in the metric's unit: positive is worse, NaN stays NaN."""


class Similarity:
    """Pearson correlation of cosine similarities with human ratings, over all pairs of documents.

    The output is (batch, sequence, hidden); embeddings are its mean over the tokens that `attention_mask` counts (as
    sentence-transformers pools both MiniLM and MPNet). A document's label is its row of ratings against all
    documents, itself included.
    """

    def __init__(self) -> None:
        self._embeddings: list[Array] = []
        self._ratings: list[Array] = []

    def update(self, inputs: Arrays, outputs: Arrays, expected: Arrays) -> None:
        """Take a batch of documents."""
        hidden = _first(outputs, 3)
        mask = _matching(_mask(inputs, hidden), hidden.shape[:2], MASK)
        ratings = _label(expected)
        if ratings.ndim != 2 or len(ratings) != len(hidden):
            raise _shape_error(f"expected.{LABEL}", ratings, f"[{len(hidden)}, documents]")
        self._embeddings.append(_mean_over_tokens(hidden, mask))
        self._ratings.append(ratings.astype(np.float64))

    def value(self) -> float:
        """Pearson's r over the pairs i < j of the documents seen, which are the first ones of the rating matrix."""
        if not self._embeddings:
            return math.nan
        vectors = np.concatenate(self._embeddings)
        ratings = np.concatenate(self._ratings)[:, : len(vectors)]
        if ratings.shape != (len(vectors), len(vectors)):
            raise _shape_error(f"expected.{LABEL}", ratings, f"[{len(vectors)}, {len(vectors)}]")
        pairs = np.triu_indices(len(vectors), k=1)
        return _pearson(_cosines(vectors)[pairs], ratings[pairs])

    def worsening(self, reference: float, candidate: float) -> float:
        """Loss of correlation."""
        return reference - candidate


class Perplexity:
    """exp of the mean negative log-likelihood of each next token, over all tokens that `attention_mask` counts.

    The output is logits (batch, sequence, vocabulary); `input_ids` are their own labels.
    """

    def __init__(self) -> None:
        self._loss = 0.0
        self._tokens = 0
        self._nan = False

    def update(self, inputs: Arrays, outputs: Arrays, expected: Arrays) -> None:
        """Take a batch of texts."""
        logits = _first(outputs, 3)
        tokens = _matching(_input(inputs, TOKENS), logits.shape[:2], TOKENS)
        mask = _matching(_mask(inputs, logits), logits.shape[:2], MASK)
        self._nan = self._nan or bool(np.isnan(logits).any())
        for row, ids, real in zip(logits, tokens, mask, strict=True):
            counts = real[1:] & real[:-1]
            self._loss += float(np.sum(_next_token_loss(row[:-1][counts], ids[1:][counts])))
            self._tokens += int(np.count_nonzero(counts))

    def value(self) -> float:
        """Perplexity; infinite where the loss is beyond what exp can hold."""
        if self._nan or self._tokens == 0:
            return math.nan
        with np.errstate(over="ignore"):
            return float(np.exp(self._loss / self._tokens))

    def worsening(self, reference: float, candidate: float) -> float:
        """Relative growth."""
        return (candidate - reference) / reference


class Accuracy:
    """Share of samples whose highest class is the label. The output is logits (batch, classes)."""

    def __init__(self) -> None:
        self._hits = 0
        self._samples = 0
        self._nan = False

    def update(self, inputs: Arrays, outputs: Arrays, expected: Arrays) -> None:
        """Take a batch; labels are class numbers (batch)."""
        logits = _first(outputs, 2)
        labels = _matching(_label(expected), logits.shape[:1], f"expected.{LABEL}")
        self._nan = self._nan or bool(np.isnan(logits).any())
        self._hits += int(np.count_nonzero(logits.argmax(axis=1) == labels))
        self._samples += len(logits)

    def value(self) -> float:
        """Share in 0..1."""
        return math.nan if self._nan or self._samples == 0 else self._hits / self._samples

    def worsening(self, reference: float, candidate: float) -> float:
        """Loss of share."""
        return reference - candidate


class Speech:
    """Mean probability that is given to the truth. The output is the probability of speech (batch, 1)."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._samples = 0

    def update(self, inputs: Arrays, outputs: Arrays, expected: Arrays) -> None:
        """Take a batch; labels are 1 for speech and 0 for none (batch)."""
        probability = _first(outputs, 2)
        if probability.shape[1] != 1:
            raise _shape_error("output", probability, "[batch, 1]")
        labels = _matching(_label(expected), probability.shape[:1], f"expected.{LABEL}")
        self._sum += float(np.sum(np.where(labels == 1, probability[:, 0], 1.0 - probability[:, 0]), dtype=np.float64))
        self._samples += len(labels)

    def value(self) -> float:
        """Mean probability in 0..1."""
        return self._sum / self._samples if self._samples else math.nan

    def worsening(self, reference: float, candidate: float) -> float:
        """Loss of probability."""
        return reference - candidate


def _first(outputs: Arrays, rank: int) -> Array:
    name, array = next(iter(outputs.items()), ("outputs", np.empty(0)))
    if array.ndim != rank or array.size == 0:
        raise _shape_error(f"output {name}", array, f"{rank} axes, none of them empty")
    return array


def _input(inputs: Arrays, name: str) -> Array:
    if name not in inputs:
        raise ValidationError(
            f"this metric reads the input {name}, and the model's inputs are {', '.join(inputs)}",
            hint="choose another `task.metric`, or name the input as transformers does",
        )
    return inputs[name]


def _mask(inputs: Arrays, output: Array) -> NDArray[np.bool_]:
    """Tokens that count; all of them where the model takes no mask."""
    return inputs[MASK].astype(bool) if MASK in inputs else np.ones(output.shape[:2], dtype=bool)


def _label(expected: Arrays) -> Array:
    if LABEL not in expected:
        raise ValidationError(
            f"this metric needs expected.{LABEL}, and the batch has {', '.join(expected) or 'no labels'}",
            hint="see calibration/README.md for how each reader is given labels",
        )
    return expected[LABEL]


def _matching(array: Array, shape: tuple[int, ...], name: str) -> Array:
    if array.shape != shape:
        raise _shape_error(name, array, f"[{', '.join(map(str, shape))}]")
    return array


def _shape_error(name: str, array: Array, wanted: str) -> ValidationError:
    return ValidationError(f"has shape [{', '.join(map(str, array.shape))}], and the metric needs {wanted}", where=name)


def _mean_over_tokens(hidden: Array, mask: Array) -> Array:
    """(batch, sequence, hidden) to (batch, hidden); NaN or infinity at a masked token still gives NaN."""
    with np.errstate(invalid="ignore"):
        kept = hidden.astype(np.float64) * mask[:, :, None]
        return np.asarray(kept.sum(axis=1) / np.maximum(mask.sum(axis=1), 1)[:, None])


def _cosines(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(vectors @ vectors.T / np.outer(lengths, lengths))


def _pearson(one: Array, other: Array) -> float:
    """NaN where either holds NaN or does not vary."""
    if len(one) < 2:
        return math.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = one - one.mean(), other - other.mean()
        return float((a @ b) / np.sqrt((a @ a) * (b @ b)))


def _next_token_loss(logits: Array, targets: Array) -> Array:
    """Negative log-likelihood in fp64: (tokens, vocabulary), (tokens) to (tokens)."""
    wide = logits.astype(np.float64)
    with np.errstate(invalid="ignore"):
        top = wide.max(axis=1, initial=-np.inf)
        total = np.log(np.exp(wide - top[:, None]).sum(axis=1)) + top
        return np.asarray(total - wide[np.arange(len(targets)), targets])
