"""Batches taken apart into single samples without their padding: cheap to run, for a first look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.analysis import batches
from pipeline.core.spec import InputSpec

Arrays = dict[str, Any]
"""Arrays by input."""


def write(files: Sequence[Path], inputs: Mapping[str, InputSpec], folder: Path) -> tuple[Path, ...]:
    """Write each sample of `files` as a batch of one into `folder`.

    Returns:
        The new files, the smallest sample first; none where the inputs share no first axis to take apart.
    """
    first = {spec.axes[0] for spec in inputs.values() if spec.axes}
    axis = next(iter(first)) if len(first) == 1 else None
    if not isinstance(axis, str) or not all(spec.axes for spec in inputs.values()):
        return ()
    found: list[tuple[int, Path]] = []
    for file in files:
        arrays = batches.read(file, list(inputs))
        for row in range(len(next(iter(arrays.values())))):
            sample = _trimmed({name: array[row : row + 1] for name, array in arrays.items()}, inputs)
            path = folder / f"sample_{len(found):04d}.npz"
            np.savez(path, **sample)
            found.append((sum(array.size for array in sample.values()), path))
    return tuple(path for _, path in sorted(found))


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
