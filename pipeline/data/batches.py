"""Samples to batches: grouped in order, padded to one length and stacked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from pipeline.core.errors import CalibrationError
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.data.samples import BATCH, Array, Sample, sample_axes


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Samples ready to run.

    Attributes:
        inputs: By input name, batch axis included.
        expected: Labels by name, stacked along the first axis.
    """

    inputs: dict[str, Array]
    expected: dict[str, Array] = field(default_factory=dict)


def groups(samples: Iterable[Sample], size: int, axes: Mapping[str, AxisRange]) -> Iterator[list[Sample]]:
    """Runs of at most `size` samples in order, and no more than the profile allows: one without a batch axis."""
    limit = min(size, axes[BATCH].max) if BATCH in axes else 1
    remaining = iter(samples)
    while group := list(islice(remaining, limit)):
        yield group


def stack(
    group: Sequence[Sample], inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange], fill: Mapping[str, int]
) -> Batch:
    """One batch of checked samples.

    Axes that an input masks are padded, at their end, to the longest sample (and to the profile's least size): masks
    with 0, inputs in `fill` with their value there, others with 0.

    Args:
        group: Its samples, at least one.
        inputs: Graph inputs.
        axes: Sizes of every dynamic axis.
        fill: Padding value by input name.

    Raises:
        CalibrationError: The batch is outside the profile, or its samples differ in size along an axis that no input
            masks.
    """
    _require_batch(group, axes)
    sizes = _common_sizes(group, inputs, axes)
    return Batch(
        inputs={name: _stacked(group, name, spec, sizes, fill.get(name, 0)) for name, spec in inputs.items()},
        expected=_labels(group),
    )


def padded(batch: Batch, inputs: Mapping[str, InputSpec]) -> bool:
    """Whether some mask of the batch holds a 0."""
    return any(not batch.inputs[name].all() for name, spec in inputs.items() if spec.masks)


def _require_batch(group: Sequence[Sample], axes: Mapping[str, AxisRange]) -> None:
    least = axes[BATCH].min if BATCH in axes else 1
    if len(group) < least:
        raise CalibrationError(
            f"a batch holds {len(group)} samples, and the profile's least batch is {least}",
            where=group[0].name,
            hint=f"use a number of samples that is a multiple of `batch`, or lower axes.{BATCH}.min",
        )


def _common_sizes(
    group: Sequence[Sample], inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange]
) -> dict[str, int]:
    """Size of every dynamic axis (but the batch's) in this batch."""
    masked = {axis for spec in inputs.values() for axis in spec.masks}
    sizes: dict[str, int] = {}
    for name, spec in inputs.items():
        for position, axis in enumerate(sample_axes(spec)):
            if isinstance(axis, int) or axis in sizes:
                continue
            found = sorted({sample.inputs[name].shape[position] for sample in group})
            sizes[axis] = max(found[-1], axes[axis].min)
            if axis not in masked and found != [sizes[axis]]:
                raise CalibrationError(
                    f"samples have {_listing(found)} elements along {axis}, "
                    f"and no input masks it, so they cannot be padded to {sizes[axis]}",
                    where=group[0].name,
                    hint=f'give samples of one size, set `batch = 1`, or name the mask: masks = ["{axis}"]',
                )
    return sizes


def _stacked(group: Sequence[Sample], name: str, spec: InputSpec, sizes: Mapping[str, int], fill: int) -> Array:
    value = 0 if spec.masks else fill
    shape = tuple(axis if isinstance(axis, int) else sizes[axis] for axis in sample_axes(spec))
    rows = [_padded(sample.inputs[name], shape, value) for sample in group]
    if BATCH in spec.axes:
        return np.ascontiguousarray(np.stack(rows, axis=spec.axes.index(BATCH)))
    _require_shared(group, name)
    return rows[0]


def _padded(array: Array, shape: tuple[int, ...], value: int) -> Array:
    margins = [(0, wanted - size) for wanted, size in zip(shape, array.shape, strict=True)]
    return np.pad(array, margins, constant_values=value) if margins else array


def _require_shared(group: Sequence[Sample], name: str) -> None:
    first = group[0]
    other = next((sample for sample in group if not np.array_equal(sample.inputs[name], first.inputs[name])), None)
    if other is not None:
        raise CalibrationError(
            f"input {name} has no batch axis, and its value differs from that of {first.name} in the same batch",
            where=other.name,
            hint="set `batch = 1`, or give all samples the same value",
        )


def _labels(group: Sequence[Sample]) -> dict[str, Array]:
    first = group[0]
    for sample in group:
        same = sample.expected.keys() == first.expected.keys()
        if not same or any(sample.expected[key].shape != first.expected[key].shape for key in first.expected):
            raise CalibrationError(
                f"its labels are {_signature(sample)}, and those of {first.name} are {_signature(first)}",
                where=sample.name,
                hint="every sample needs the same labels, of the same shape",
            )
    return {key: np.stack([sample.expected[key] for sample in group]) for key in first.expected}


def _signature(sample: Sample) -> str:
    return ", ".join(f"{key}{list(value.shape)}" for key, value in sorted(sample.expected.items())) or "none"


def _listing(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes[:4])) + (", …" if len(sizes) > 4 else "")
