"""Model inputs ready to run, and the ranges observed on them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSet:
    """Model inputs ready to run: `batch_0000.npz`, `batch_0001.npz`, … each with one array an input.

    Attributes:
        batches: The files, in order. Arrays whose names start with `expected.` are labels of a task, not inputs.
        samples: Number of samples in all batches together.
        source: Where the data comes from, in words.
        licence: SPDX identifier of the data.
    """

    batches: tuple[Path, ...]
    samples: int
    source: str
    licence: str

    def __post_init__(self) -> None:
        if not (self.batches and self.samples >= 1):
            raise ValueError("a sample set must hold at least one sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The three sets that a run needs, from one reader.

    Attributes:
        calibration: For ranges.
        validation: For layer-by-layer comparison.
        task: Labelled, for the task metric; None where the spec has none.
        overlap: Whether validation samples also served calibration, because the set was too small.
    """

    calibration: SampleSet
    validation: SampleSet
    task: SampleSet | None = None
    overlap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRange:
    """What one tensor held over a whole calibration set.

    Attributes:
        low: Smallest finite value seen.
        high: Largest finite value seen; never below `low`.
        smallest: Smallest nonzero finite magnitude seen; 0 if every element was zero.
        elements: Elements seen.
        nan: Elements that were NaN.
        posinf: Elements that were +Inf.
        neginf: Elements that were -Inf.
        overflow: Finite elements that would round to infinity in the low format.
        subnormal: Nonzero elements that would be subnormal in the low format, the lost ones included.
        lost: Nonzero elements that would round to zero in the low format.
        history: Largest finite magnitude that had been seen after each batch.
    """

    low: float
    high: float
    smallest: float
    elements: int
    nan: int = 0
    posinf: int = 0
    neginf: int = 0
    overflow: int = 0
    subnormal: int = 0
    lost: int = 0
    history: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"range must be finite with low <= high, got [{self.low}, {self.high}]")
        if not self.elements >= 1:
            raise ValueError("a range needs at least one element")

    @property
    def magnitude(self) -> float:
        """Largest finite magnitude seen."""
        return max(abs(self.low), abs(self.high))

    @property
    def nonfinite(self) -> int:
        """Elements (not batches) that were NaN or infinite."""
        return self.nan + self.posinf + self.neginf


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRanges:
    """Ranges of every float tensor of one model.

    Attributes:
        model: Digest of the model's ONNX file that they were observed on.
        samples: Number of samples.
        low: The low format that `overflow`, `subnormal` and `lost` refer to.
        tensors: By tensor name.
        unobserved: Float tensors without a range, with the reason (empty, inside a subgraph, …).
    """

    model: str
    samples: int
    low: Format
    tensors: dict[str, TensorRange]
    unobserved: dict[str, str] = field(default_factory=dict)
