"""Which elements of a tensor count: those at positions that no mask input calls padding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.spec import InputSpec


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the axes of a mask input lie in a tensor.

    Attributes:
        source: The mask input.
        positions: For each of its axes, the axis of the tensor.
    """

    source: str
    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mask:
    """The elements of a tensor that count: those that every placement keeps.

    Attributes:
        rank: Rank of the tensor.
        placements: At least one.
    """

    rank: int
    placements: tuple[Placement, ...]

    @property
    def name(self) -> str:
        """A name that equal masks share."""
        parts = [f"{item.source}@{'.'.join(map(str, item.positions))}" for item in self.placements]
        return f"keep::{self.rank}::{'+'.join(parts)}"

    def array(self, feeds: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        """True where an element counts, of shape 1 along axes that no mask names."""
        keep = np.ones((1,) * self.rank, bool)
        for item in self.placements:
            source = feeds[item.source].astype(bool)
            order = np.argsort(item.positions)
            shape = [1] * self.rank
            for axis, position in enumerate(item.positions):
                shape[position] = source.shape[axis]
            keep = keep & source.transpose(order).reshape(shape)
        return keep


def mask_of(shape: Sequence[int | str], inputs: Mapping[str, InputSpec]) -> Mask | None:
    """The mask of a tensor, or None where no mask input covers it.

    A tensor is covered along each of its axes whose name a mask input masks, provided that it also has, once, every
    other axis of that input: attention scores (batch, heads, sequence, sequence) are covered along both.

    Args:
        shape: One entry a dimension: a size or an axis name.
        inputs: The model's inputs.
    """
    placements: list[Placement] = []
    for name, spec in inputs.items():
        for masked in spec.masks:
            fixed = {axis: [i for i, dim in enumerate(shape) if dim == axis] for axis in spec.axes if axis != masked}
            if all(isinstance(axis, str) and len(found) == 1 for axis, found in fixed.items()):
                placements += [
                    Placement(name, tuple(i if axis == masked else fixed[axis][0] for axis in spec.axes))
                    for i, dim in enumerate(shape)
                    if dim == masked
                ]
    return Mask(len(shape), tuple(placements)) if placements else None
