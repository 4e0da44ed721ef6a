"""Batches on disk: one `.npz` each, labels beside the inputs."""

from __future__ import annotations

from pathlib import Path

from pipeline.core import npz
from pipeline.data.batches import Batch
from pipeline.data.samples import EXPECTED


def write(folder: Path, index: int, batch: Batch) -> Path:
    """Write a batch as `batch_0000.npz`, numbered by `index`, into an existing folder."""
    path = folder / f"batch_{index:04d}.npz"
    npz.write(path, {**batch.inputs, **{f"{EXPECTED}{key}": value for key, value in batch.expected.items()}})
    return path
