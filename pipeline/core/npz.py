"""Arrays by name in an uncompressed `.npz`: the same bytes for the same arrays, and never a pickle."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import PipelineError

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Earliest time that a zip archive can hold; `numpy.savez` would write the present one."""


def write(path: Path, arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write a file whose bytes depend on names, order and arrays alone."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=EPOCH)
            with archive.open(entry, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.asarray(array, order="C"), allow_pickle=False)


def read(path: Path, refusal: type[PipelineError]) -> dict[str, npt.NDArray[Any]]:
    """Every array of a file that a person may have written.

    Raises:
        PipelineError: As `refusal`: it is no `.npz`, is damaged, or holds Python objects, which are pickles.
    """
    if not zipfile.is_zipfile(path):
        raise refusal("not an .npz file", where=str(path), hint="numpy.savez writes them, with an array an input")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # NumPy, zipfile, zlib and tokenize raise types of their own
        raise refusal(
            f"not a readable .npz file: {error}", where=str(path), hint="write it anew, with plain arrays only"
        ) from error
