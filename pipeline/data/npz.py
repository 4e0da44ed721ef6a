"""Reads `.npz` files: one array an input, batch axis included, and labels as `expected.NAME`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.core import npz
from pipeline.core.errors import CalibrationError
from pipeline.data.samples import BATCH, EXPECTED, Array, Request, Sample, sample_of


def read(request: Request) -> Iterator[Sample]:
    """The samples of one file, or of every `.npz` of a folder by name.

    Padding that is already in the arrays stays, with its mask. An input without a batch axis belongs to every sample
    of its file.

    Raises:
        CalibrationError: There is no such file, it is no npz of plain arrays, or its arrays differ in batch size.
    """
    for path in _files(request):
        arrays = npz.read(path, refusal=CalibrationError)
        axes = {name: _batch_axis(request, name) for name in arrays}
        for index in range(_batch_size(arrays, axes, path.name)):
            rows = {
                name: array if (axis := axes[name]) is None else array.take(index, axis=axis)
                for name, array in arrays.items()
            }
            yield sample_of(rows, f"{path.name}[{index}]")


def _files(request: Request) -> list[Path]:
    if request.path.is_dir():
        return sorted(request.path.glob("*.npz"))
    if not request.path.is_file():
        raise CalibrationError(
            "no such file or folder", where=request.name, hint="`data.path` names it; see calibration/README.md"
        )
    return [request.path]


def _batch_axis(request: Request, name: str) -> int | None:
    """Where an array is cut into samples: labels along axis 0, strangers not at all (the check names them)."""
    if name.startswith(EXPECTED):
        return 0
    axes = request.inputs[name].axes if name in request.inputs else ()
    return axes.index(BATCH) if BATCH in axes else None


def _batch_size(arrays: dict[str, Array], axes: dict[str, int | None], where: str) -> int:
    sizes = {name: _size(arrays[name], axis, name, where) for name, axis in axes.items() if axis is not None}
    if len(set(sizes.values())) > 1:
        raise CalibrationError(
            "arrays differ in batch size: " + ", ".join(f"{name} {size}" for name, size in sizes.items()), where=where
        )
    return next(iter(sizes.values()), 1 if arrays else 0)


def _size(array: Array, axis: int, name: str, where: str) -> int:
    if np.ndim(array) <= axis:
        raise CalibrationError(
            f"{name} has {np.ndim(array)} axes, and its batch axis is axis {axis}",
            where=where,
            hint="arrays in an npz have their batch axis, also where they hold one sample",
        )
    return int(array.shape[axis])
