"""Batches taken apart into single samples without their padding: cheap to run, for a first look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.analysis import batches
from pipeline.core import npz
from pipeline.core.spec import InputSpec
from pipeline.data.samples import BATCH

Arrays = dict[str, Any]
"""Arrays by input."""


def write(files: Sequence[Path], inputs: Mapping[str, InputSpec], folder: Path) -> tuple[Path, ...]:
    """Write each sample of `files` as a batch of one into `folder`.

    Returns:
        The new files, the smallest sample first.
    """
    found: list[tuple[int, Path]] = []
    for file in files:
        arrays = batches.read(file, list(inputs))
        for row in range(count(arrays, inputs)):
            sample = taken(arrays, inputs, [row])
            path = folder / f"sample_{len(found):04d}.npz"
            npz.write(path, sample)
            found.append((sum(array.size for array in sample.values()), path))
    return tuple(path for _, path in sorted(found))


def count(arrays: Arrays, inputs: Mapping[str, InputSpec]) -> int:
    """Samples in a batch; 1 where no input has an axis of samples."""
    return next((arrays[name].shape[spec.axes.index(BATCH)] for name, spec in inputs.items() if BATCH in spec.axes), 1)


def taken(arrays: Arrays, inputs: Mapping[str, InputSpec], rows: Sequence[int]) -> Arrays:
    """Some samples of a batch, without padding that all of them share."""
    part = {
        name: arrays[name].take(list(rows), axis=spec.axes.index(BATCH)) if BATCH in spec.axes else arrays[name]
        for name, spec in inputs.items()
    }
    return _trimmed(part, inputs)


def _trimmed(sample: Arrays, inputs: Mapping[str, InputSpec]) -> Arrays:
    """`sample` up to the last position that its masks keep, along each axis that an input masks."""
    for name, spec in inputs.items():
        for masked in spec.masks:
            others = tuple(at for at, axis in enumerate(spec.axes) if axis != masked)
            kept = np.flatnonzero(sample[name].astype(bool).any(axis=others))
            end = int(kept[-1]) + 1 if kept.size else 1
            sample = {key: _cut(array, inputs[key].axes, masked, end) for key, array in sample.items()}
    return sample


def _cut(array: npt.NDArray[Any], axes: Sequence[int | str], masked: str, end: int) -> npt.NDArray[Any]:
    index = tuple(slice(0, end) if axis == masked else slice(None) for axis in axes)
    return array[index]
