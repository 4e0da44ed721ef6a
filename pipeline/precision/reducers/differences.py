"""How two tensors differ: merged over samples and batches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.artifacts import ErrorStats, Injected


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Relative errors of samples; of whole batches where a tensor has no axis of samples. Starts empty.

    Attributes:
        count: Errors seen.
        total: Their sum: infinite where one is.
        largest: The largest of them.
        worst: Index of the sample with the largest, or of the first one in that batch; -1 where there is none.
        together: Samples that share the largest.
    """

    count: int = 0
    total: float = 0.0
    largest: float = 0.0
    worst: int = -1
    together: int = 1

    @classmethod
    def of(cls, relative: npt.NDArray[np.float64], *, first: int, together: int = 1) -> Spread:
        """Errors of consecutive samples.

        Args:
            relative: Shape (n,), n > 0; NaN counts as infinite.
            first: Index of the first sample.
            together: Samples that each of them stands for.
        """
        errors = np.where(np.isnan(relative), math.inf, relative)
        worst = int(errors.argmax())
        return cls(
            count=errors.size,
            total=float(errors.sum()),
            largest=float(errors[worst]),
            worst=first + worst * together,
            together=together,
        )

    def merge(self, other: Spread) -> Spread:
        """Both together; of two that are equally bad the first is the worst."""
        worst = other if other.largest > self.largest or self.worst < 0 else self
        return Spread(
            count=self.count + other.count,
            total=self.total + other.total,
            largest=worst.largest,
            worst=worst.worst,
            together=worst.together,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How two tensors differ over the samples so far; starts empty.

    Attributes:
        elements: Elements compared.
        max_abs: Largest absolute difference.
        signal: Sum of squares of the reference.
        power: Sum of squares of the candidate.
        noise: Sum of squares of the difference.
        spread: Relative errors by sample: infinite where one mismatches.
    """

    elements: int = 0
    max_abs: float = 0.0
    signal: float = 0.0
    power: float = 0.0
    noise: float = 0.0
    nan_reference: int = 0
    nan_candidate: int = 0
    inf_reference: int = 0
    inf_candidate: int = 0
    mismatched: int = 0
    spread: Spread = field(default_factory=Spread)

    def merge(self, other: Difference) -> Difference:
        """Both together."""
        return Difference(
            elements=self.elements + other.elements,
            max_abs=max(self.max_abs, other.max_abs),
            signal=self.signal + other.signal,
            power=self.power + other.power,
            noise=self.noise + other.noise,
            nan_reference=self.nan_reference + other.nan_reference,
            nan_candidate=self.nan_candidate + other.nan_candidate,
            inf_reference=self.inf_reference + other.inf_reference,
            inf_candidate=self.inf_candidate + other.inf_candidate,
            mismatched=self.mismatched + other.mismatched,
            spread=self.spread.merge(other.spread),
        )

    def injected(self) -> Injected:
        """The figures that are reported of what a node adds by itself."""
        ratio = _ratio(self.noise, self.signal)
        return Injected(
            max_abs=self.max_abs,
            relative_l2=ratio,
            sqnr_db=decibels(ratio),
            nonfinite=max(0, self.mismatched - self.nan_reference),
        )

    def stats(self) -> ErrorStats:
        """The figures that are reported."""
        ratio = _ratio(self.noise, self.signal)
        return ErrorStats(
            elements=self.elements,
            max_abs=self.max_abs,
            relative_l2=ratio,
            cosine=self._cosine(),
            sqnr_db=decibels(ratio),
            nan_reference=self.nan_reference,
            nan_candidate=self.nan_candidate,
            inf_reference=self.inf_reference,
            inf_candidate=self.inf_candidate,
            mismatched_nonfinite=self.mismatched,
            worst_sample=self.spread.worst,
            worst_together=self.spread.together,
            worst_relative_l2=self.spread.largest,
            mean_relative_l2=self.spread.total / self.spread.count if self.spread.count else 0.0,
        )

    def _cosine(self) -> float:
        """From the three sums of squares: 2 r.c = |r|^2 + |c|^2 - |c - r|^2."""
        if self.signal == 0 and self.power == 0:
            return 1.0
        if self.signal == 0 or self.power == 0:
            return 0.0
        product = (self.signal + self.power - self.noise) / 2
        return max(-1.0, min(1.0, product / math.sqrt(self.signal) / math.sqrt(self.power)))


def decibels(ratio: float) -> float:
    """SQNR of a noise-to-signal ratio of norms; inf where there is no noise."""
    return -20.0 * math.log10(ratio) if ratio else math.inf


def between(
    reference: npt.NDArray[Any], candidate: npt.NDArray[Any], *, sample: int = 0, together: int = 1
) -> Difference:
    """How two arrays of one shape differ.

    Args:
        reference: The reference's values.
        candidate: The candidate's.
        sample: Index of the sample that they are of, or of the first of several.
        together: How many samples they are of.
    """
    r, c = reference.astype(np.float64), candidate.astype(np.float64)
    finite = np.isfinite(r) & np.isfinite(c)
    agree = finite | (r == c)
    r_finite, c_finite = r[finite], c[finite]
    d = c_finite - r_finite
    signal, noise, mismatched = float(np.dot(r_finite, r_finite)), float(np.dot(d, d)), int(r.size - agree.sum())
    own = math.inf if mismatched else _ratio(noise, signal)
    return Difference(
        elements=r.size,
        max_abs=float(np.abs(d).max(initial=0.0)),
        signal=signal,
        power=float(np.dot(c_finite, c_finite)),
        noise=noise,
        nan_reference=int(np.isnan(r).sum()),
        nan_candidate=int(np.isnan(c).sum()),
        inf_reference=int(np.isinf(r).sum()),
        inf_candidate=int(np.isinf(c).sum()),
        mismatched=mismatched,
        spread=Spread.of(np.array([own]), first=sample, together=together),
    )


def between_rows(
    reference: Sequence[npt.NDArray[Any]], candidate: Sequence[npt.NDArray[Any]], *, first: int, together: int
) -> Difference:
    """How consecutive samples differ, each with arrays of its own. Arguments as for `between`."""
    found = Difference()
    for at, (one, other) in enumerate(zip(reference, candidate, strict=True)):
        found = found.merge(between(one, other, sample=first + at * together, together=together))
    return found


def relative_errors(noise: npt.NDArray[Any], signal: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """||noise|| / ||signal|| of each sample, of sums of squares of shape (samples,): 0 and inf as in `ErrorStats`."""
    pairs = zip(noise.tolist(), signal.tolist(), strict=True)
    return np.array([_ratio(one, other) for one, other in pairs], np.float64)


def _ratio(noise: float, signal: float) -> float:
    """||noise|| / ||signal||: 0 where both are zero, inf where only the signal is."""
    if noise == 0:
        return 0.0
    return math.sqrt(noise) / math.sqrt(signal) if signal > 0 else math.inf
