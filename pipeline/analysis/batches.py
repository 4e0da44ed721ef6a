"""Sample batches as feeds of a session."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import CalibrationError

LABEL = "expected."
"""Prefix of arrays that are labels, not inputs."""

Arrays = dict[str, npt.NDArray[Any]]


def read(batch: Path, inputs: Sequence[str]) -> Arrays:
    """The arrays of one batch that are fed to a model.

    Args:
        batch: An `.npz` file.
        inputs: Names of the model's inputs.

    Raises:
        CalibrationError: An input has no array, or an array has no element.
    """
    with np.load(batch, allow_pickle=False) as file:
        missing = [name for name in inputs if name not in file]
        if missing:
            raise CalibrationError(
                f"the batch has no array for inputs {missing}; it has {sorted(file)}",
                where=str(batch),
                hint="each batch holds one array an input, under the input's name",
            )
        arrays = {name: file[name] for name in inputs}
    empty = [name for name, array in arrays.items() if array.size == 0]
    if empty:
        raise CalibrationError(f"inputs {empty} have no element in this batch", where=str(batch))
    return arrays


def labels(batch: Path) -> Arrays:
    """The labels of one batch, by name without the prefix."""
    with np.load(batch, allow_pickle=False) as file:
        return {name.removeprefix(LABEL): file[name] for name in file if name.startswith(LABEL)}
