"""Inputs of many shapes out of a few real samples: what an export is traced with and checked on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.spec import AxisRange, InputSpec

Array = npt.NDArray[Any]

TRACED_UP_TO = 16
"""Largest size of an axis in tracing, unless its least size is larger."""

CHECKED_UP_TO = 64
"""Largest size of an axis in the check at about the optimum."""

ELEMENTS = 1024
"""Largest product of all axes in a check."""

ODD_SIZES = (3, 17, 5, 7, 11, 13)
"""Sizes that no module uses by itself, one an axis."""

ROWS = ("full", "right", "left", "none")
"""How a row of a mask is padded in the check of padding: not at all, at its end, at its start, or wholly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Inputs of one shape.

    Attributes:
        name: In words, for messages.
        sizes: Size of every axis.
        feeds: One array a graph input, in the spec's order.
        padded: Whether masks were set to pad some rows, one of them wholly.
    """

    name: str
    sizes: dict[str, int]
    feeds: dict[str, Array]
    padded: bool = False


def traced(inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange], sample: Mapping[str, Array]) -> Case:
    """The case to trace with: small sizes, at least 2 where the axis allows it, and each different from the others."""
    sizes: dict[str, int] = {}
    for name, allowed in axes.items():
        size = _clamped(max(2, min(allowed.opt, TRACED_UP_TO)), allowed)
        free = [size, *range(size + 1, allowed.max + 1), *range(size - 1, max(2, allowed.min) - 1, -1)]
        sizes[name] = next((candidate for candidate in free if candidate not in sizes.values()), size)
    return _case("traced", sizes, inputs, sample)


def cases(
    inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange], sample: Mapping[str, Array]
) -> Iterator[Case]:
    """The cases to check: least sizes, about the optimum, odd sizes, the longest, and every kind of padding.

    Cases of equal sizes come once.
    """
    seen: list[dict[str, int]] = []
    for name, sizes in _sizes(axes):
        if sizes not in seen and (math.prod(sizes.values()) <= ELEMENTS or not seen):
            seen.append(sizes)
            yield _case(name, sizes, inputs, sample)
    if any(spec.masks for spec in inputs.values()):
        yield from _padded_cases(inputs, axes, sample)


def varied(
    case: Case, inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange], sample: Mapping[str, Array]
) -> Iterator[tuple[str, Case]]:
    """For each axis, `case` with another size along that axis alone."""
    for name, allowed in axes.items():
        other = next((size for size in (case.sizes[name] + 1, case.sizes[name] - 1, allowed.min, allowed.max)
                      if allowed.min <= size <= allowed.max and size != case.sizes[name]), None)  # fmt: skip
        if other is not None:
            yield name, _case(f"{name} = {other}", {**case.sizes, name: other}, inputs, sample)


def _sizes(axes: Mapping[str, AxisRange]) -> Iterator[tuple[str, dict[str, int]]]:
    yield "least sizes", {name: allowed.min for name, allowed in axes.items()}
    odd = zip(axes.items(), ODD_SIZES, strict=False)
    yield "odd sizes", {name: _clamped(size, allowed) for (name, allowed), size in odd}
    near = {name: _clamped(min(allowed.opt, CHECKED_UP_TO), allowed) for name, allowed in axes.items()}
    yield "near the optimum", near
    first = next(iter(axes), "")
    longest = {name: allowed.min if name == first else allowed.max for name, allowed in axes.items()}
    yield "longest", longest if len(axes) > 1 else {first: min(axes[first].max, TRACED_UP_TO)} if axes else {}


def _padded_cases(
    inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange], sample: Mapping[str, Array]
) -> Iterator[Case]:
    """All kinds of rows, in one batch where it may hold so many, else in several."""
    base = {name: _clamped(ODD_SIZES[index], allowed) for index, (name, allowed) in enumerate(axes.items())}
    across = _row_axis(inputs)
    rows = 1 if across is None else _clamped(len(ROWS), axes[across])
    sizes = base if across is None else {**base, across: rows}
    for start in range(0, len(ROWS), rows):
        kinds = ROWS[start : start + rows]
        case = _case(f"padding ({', '.join(kinds)})", sizes, inputs, sample)
        feeds = {name: _masked(case.feeds[name], spec, across, kinds) for name, spec in inputs.items()}
        yield Case(name=case.name, sizes=sizes, feeds=feeds, padded=True)


def _row_axis(inputs: Mapping[str, InputSpec]) -> str | None:
    """The axis along which rows of the masks lie: the first one that they do not mask."""
    masks = (spec for spec in inputs.values() if spec.masks)
    named = (axis for spec in masks for axis in spec.axes if isinstance(axis, str) and axis not in spec.masks)
    return next(named, None)


def _masked(array: Array, spec: InputSpec, across: str | None, kinds: tuple[str, ...]) -> Array:
    if not spec.masks:
        return array
    mask = np.ones_like(array)
    for axis in spec.masks:
        along = np.moveaxis(mask, spec.axes.index(axis), -1)
        rows = np.moveaxis(along, _position(spec, axis, across), 0) if across in spec.axes else along[None]
        for index, row in enumerate(rows):
            row[...] *= _row(kinds[index % len(kinds)], row.shape[-1]).astype(mask.dtype)
    return mask


def _position(spec: InputSpec, axis: str, across: str | None) -> int:
    """Position of the row axis once the masked axis was moved to the end."""
    rest = [name for name in spec.axes if name != axis]
    return rest.index(across or "")


def _row(kind: str, length: int) -> npt.NDArray[np.bool_]:
    positions = np.arange(length)
    kept = max(1, (2 * length) // 3)
    match kind:
        case "right":
            return positions < kept
        case "left":
            return positions >= length - kept
        case "none":
            return positions < 0
    return positions >= 0


def _case(name: str, sizes: Mapping[str, int], inputs: Mapping[str, InputSpec], sample: Mapping[str, Array]) -> Case:
    feeds = {key: _resized(sample[key], spec, sizes) for key, spec in inputs.items()}
    return Case(name=name, sizes=dict(sizes), feeds=feeds)


def _resized(array: Array, spec: InputSpec, sizes: Mapping[str, int]) -> Array:
    """`array` cut or repeated along its named axes."""
    for position, axis in enumerate(spec.axes):
        if isinstance(axis, str):
            array = np.take(array, np.arange(sizes[axis]) % array.shape[position], axis=position)
    return np.asarray(array, dtype=spec.dtype, order="C")


def _clamped(size: int, allowed: AxisRange) -> int:
    return max(allowed.min, min(size, allowed.max))
