"""One sample of a data set, and what a reader is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.core.spec import AxisRange, DataSource, InputSpec

Array = NDArray[Any]

BATCH = "batch"
"""Name of the axis along which samples are stacked."""

EXPECTED = "expected."
"""Prefix that tells labels from inputs where both stand in one mapping or one npz file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One sample, before it is padded and stacked.

    Attributes:
        name: Where it comes from, for errors: `calibration/english.jsonl:3`.
        inputs: By input name, without the batch axis.
        expected: Labels by name (without the prefix `expected.`), without the batch axis.
    """

    name: str
    inputs: Mapping[str, Array]
    expected: Mapping[str, Array] = field(default_factory=dict)


class Tokenizer(Protocol):
    """What the text reader needs of a tokenizer."""

    @property
    def pad_id(self) -> int:
        """Token that fills the padding."""

    def encode(self, text: str, limit: int) -> list[int]:
        """Token ids with the special ones, at most `limit` of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a reader is given.

    Attributes:
        data: The data set as the spec names it.
        folder: Folder that `data.path` and `data.labels` are relative to.
        engine: Folder of `engine.toml`, where callables lie.
        inputs: Graph inputs.
        axes: Sizes of every dynamic axis.
        tokenizer: For text.
    """

    data: DataSource
    folder: Path
    engine: Path
    inputs: Mapping[str, InputSpec]
    axes: Mapping[str, AxisRange]
    tokenizer: Tokenizer | None = None

    @property
    def path(self) -> Path:
        """The data's file or folder; `folder` itself where the spec names none."""
        return self.folder / (self.data.path or ".")

    @property
    def name(self) -> str:
        """The data in words, for errors."""
        return self.data.path or self.data.callable or str(self.data.reader)


class Read(Protocol):
    """A reader: yields the samples of a data set in their order, reading no more than is asked for."""

    def __call__(self, request: Request) -> Iterator[Sample]:
        """The samples.

        Raises:
            CalibrationError: The data is missing, empty or not what the reader expects.
        """


def sample_of(arrays: Mapping[str, Any], name: str) -> Sample:
    """A sample from one mapping of inputs and `expected.` labels."""
    return Sample(
        name=name,
        inputs={key: np.asarray(value) for key, value in arrays.items() if not key.startswith(EXPECTED)},
        expected={
            key.removeprefix(EXPECTED): np.asarray(value) for key, value in arrays.items() if key.startswith(EXPECTED)
        },
    )


def sample_axes(spec: InputSpec) -> tuple[str | int, ...]:
    """Axes of one sample of an input: those of the batch less the batch axis."""
    return tuple(axis for axis in spec.axes if axis != BATCH)
