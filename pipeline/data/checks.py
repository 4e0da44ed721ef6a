"""Holds every sample to the spec before it meets a model: names, types, sizes, finite values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from pipeline.core.errors import CalibrationError
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.data.samples import Array, Sample, sample_axes


def checked(
    samples: Iterable[Sample], inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange]
) -> Iterator[Sample]:
    """The samples as they are, each held to the spec when it is taken.

    Raises:
        CalibrationError: A sample lacks an input, has one that the model lacks, or has a type, rank, size or
            value that the model's inputs cannot have.
    """
    for sample in samples:
        _require_names(sample, inputs)
        for name, spec in inputs.items():
            _require_type(sample, name, spec)
            _require_shape(sample, name, spec, axes)
            _require_finite(sample, name)
        _require_one_size(sample, inputs)
        yield sample


def _require_names(sample: Sample, inputs: Mapping[str, InputSpec]) -> None:
    missing = sorted(inputs.keys() - sample.inputs.keys())
    strangers = sorted(sample.inputs.keys() - inputs.keys())
    if missing or strangers:
        found = [f"lacks {', '.join(missing)}"] * bool(missing) + [f"has {', '.join(strangers)}"] * bool(strangers)
        raise CalibrationError(
            f"the sample {' and '.join(found)}",
            where=sample.name,
            hint=f"the model's inputs are {', '.join(inputs)}; labels are named expected.NAME",
        )


def _require_type(sample: Sample, name: str, spec: InputSpec) -> None:
    array = sample.inputs[name]
    if array.dtype != np.dtype(spec.dtype):
        raise CalibrationError(
            f"input {name} is {array.dtype}, and the spec says {spec.dtype}",
            where=sample.name,
            hint=f"store it as {spec.dtype}: values are never converted silently",
        )


def _require_shape(sample: Sample, name: str, spec: InputSpec, axes: Mapping[str, AxisRange]) -> None:
    array, wanted = sample.inputs[name], sample_axes(spec)
    if array.ndim != len(wanted):
        raise CalibrationError(
            f"input {name} has shape {_shape(array)}, and one sample of it has the axes {_axes(wanted)}",
            where=sample.name,
            hint="a sample has no batch axis; it is added when samples are stacked",
        )
    for size, axis in zip(array.shape, wanted, strict=True):
        if isinstance(axis, int):
            _require_fixed(sample, name, size, axis)
        else:
            _require_profile(sample, name, size, axis, axes[axis])


def _require_fixed(sample: Sample, name: str, size: int, wanted: int) -> None:
    if size != wanted:
        array = sample.inputs[name]
        raise CalibrationError(
            f"input {name} has shape {_shape(array)}: a size of {size} where the spec fixes {wanted}",
            where=sample.name,
        )


def _require_profile(sample: Sample, name: str, size: int, axis: str, sizes: AxisRange) -> None:
    if not 1 <= size <= sizes.max:
        raise CalibrationError(
            f"input {name} has {size} elements along {axis}, and the profile allows {sizes.min} to {sizes.max}",
            where=sample.name,
            hint=f"shorten the sample, or raise axes.{axis}.max",
        )


def _require_finite(sample: Sample, name: str) -> None:
    array = sample.inputs[name]
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise CalibrationError(f"input {name} holds {bad} NaN or infinite values", where=sample.name)


def _require_one_size(sample: Sample, inputs: Mapping[str, InputSpec]) -> None:
    seen: dict[str, tuple[str, int]] = {}
    for name, spec in inputs.items():
        for axis, size in zip(sample_axes(spec), sample.inputs[name].shape, strict=True):
            if not isinstance(axis, str):
                continue
            first, known = seen.setdefault(axis, (name, size))
            if size != known:
                raise CalibrationError(
                    f"input {name} has {size} elements along {axis}, and input {first} has {known}",
                    where=sample.name,
                )


def _shape(array: Array) -> str:
    return f"[{', '.join(map(str, array.shape))}]"


def _axes(axes: tuple[str | int, ...]) -> str:
    return f"[{', '.join(map(str, axes))}]"
