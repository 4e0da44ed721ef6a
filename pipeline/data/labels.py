"""Reads a label file: rows of numbers, one row a sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.core.errors import CalibrationError
from pipeline.data.samples import Array


def read_rows(path: Path, name: str, *, rows: int) -> Array:
    """A matrix of numbers that are separated by white space, fp64, as many rows as there are samples.

    Raises:
        CalibrationError: It cannot be read, is ragged or holds other than numbers, or the number of rows differs.
    """
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        matrix = np.asarray([[float(field) for field in line] for line in lines])
    except FileNotFoundError as error:
        raise CalibrationError("no such file", where=name, hint="`data.labels` names it") from error
    except (OSError, ValueError) as error:
        raise CalibrationError(
            f"not rows of numbers: {error}", where=name, hint="one row a sample, the same number of columns in each"
        ) from error
    if len(matrix) != rows:
        raise CalibrationError(
            f"{len(matrix)} rows of labels for {rows} samples",
            where=name,
            hint="blank lines do not count in either file",
        )
    return matrix
