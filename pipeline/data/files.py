"""Batches on disk: one uncompressed npz each, the same bytes for the same arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from pipeline.core.errors import CalibrationError
from pipeline.data.batches import Batch
from pipeline.data.samples import EXPECTED, Array

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Earliest time that a zip archive can hold; `numpy.savez` would write the present one."""


def write(folder: Path, index: int, batch: Batch) -> Path:
    """Write a batch as `batch_0000.npz`, numbered by `index`, into an existing folder."""
    path = folder / f"batch_{index:04d}.npz"
    save_npz(path, {**batch.inputs, **{f"{EXPECTED}{key}": value for key, value in batch.expected.items()}})
    return path


def save_npz(path: Path, arrays: dict[str, Array]) -> None:
    """Write an npz whose bytes depend on names, order and arrays alone."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=EPOCH)
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)


def load_npz(path: Path) -> dict[str, Array]:
    """Every array of an npz; objects are refused, because they are pickles.

    Raises:
        CalibrationError: It is not an npz, or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, AttributeError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise CalibrationError(
            f"not an npz of plain arrays: {error}",
            where=str(path),
            hint="write it with numpy.savez, one array an input; arrays of Python objects are refused",
        ) from error
