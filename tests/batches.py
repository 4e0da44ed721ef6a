"""Batches of a sample set, read back."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.core import npz
from pipeline.core.artifacts import SampleSet
from pipeline.core.errors import CalibrationError
from pipeline.data.batches import Batch
from pipeline.data.samples import EXPECTED


def load_all(samples: SampleSet) -> Iterator[Batch]:
    """The batches of a set in order, one in memory at a time."""
    return map(_batch, samples.batches)


def _batch(path: Path) -> Batch:
    arrays = npz.read(path, refusal=CalibrationError)
    return Batch(
        inputs={name: array for name, array in arrays.items() if not name.startswith(EXPECTED)},
        expected={name.removeprefix(EXPECTED): array for name, array in arrays.items() if name.startswith(EXPECTED)},
    )
