"""What counts of a tensor, and which of it belongs to which sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.analysis.comparison.masks import Mask, mask_of
from pipeline.core.spec import InputSpec
from pipeline.data.samples import BATCH
from pipeline.precision.reducers.differences import Difference, between_rows

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Where the number of samples of a batch is read.

    Attributes:
        source: A model input.
        axis: Its axis of samples.
    """

    source: str
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Elements:
    """What counts of a tensor, and how it is taken apart into samples.

    Attributes:
        mask: The elements that count; None where all do.
        stack: Where the number of samples is read; None where the model takes one at a time.
        leads: Whether the tensor's first axis is that of samples, alone or with others folded into it.
        folded: Whether it is not by its shape alone that a reduction over all other axes gives one figure a sample:
            others are folded into that axis, or there is none besides.
    """

    mask: Mask | None = None
    stack: Stack | None = None
    leads: bool = False
    folded: bool = False

    def rows(self, feeds: Mapping[str, Array], array: Array) -> list[Array]:
        """The elements of `array` that count, flat: one array a sample, or one for the batch."""
        count = samples(self.stack, feeds) if self.leads else 1
        flat = array.reshape(count, -1)
        if self.mask is None:
            return list(flat)
        keep = np.broadcast_to(self.mask.array(feeds), array.shape).reshape(count, -1)
        return [row[kept] for row, kept in zip(flat, keep, strict=True)]

    def difference(self, feeds: Mapping[str, Array], reference: Array, candidate: Array, first: int) -> Difference:
        """How two arrays of one shape differ where they count; `first` is the index of the batch's first sample."""
        together = 1 if self.leads else samples(self.stack, feeds)
        sides = (self.rows(feeds, reference), self.rows(feeds, candidate))
        return between_rows(*sides, first=first, together=together)


def elements_of(shape: Sequence[int | str], inputs: Mapping[str, InputSpec]) -> Elements:
    """What counts of a tensor.

    Args:
        shape: One entry a dimension: a size, an axis name, or a product such as `12*batch`, in which samples are taken
            to be the slowest, as attention folds its heads into them.
        inputs: The model's inputs.
    """
    stack = stack_of(inputs)
    leads = stack is not None and bool(shape) and BATCH in str(shape[0]).replace(" ", "").split("*")
    folded = leads and (shape[0] != BATCH or len(shape) == 1)
    return Elements(mask=mask_of(shape, inputs), stack=stack, leads=leads, folded=folded)


def stack_of(inputs: Mapping[str, InputSpec]) -> Stack | None:
    """Where the number of samples is read; None where no input has an axis of samples."""
    found = (Stack(source=name, axis=spec.axes.index(BATCH)) for name, spec in inputs.items() if BATCH in spec.axes)
    return next(found, None)


def samples(stack: Stack | None, feeds: Mapping[str, Array]) -> int:
    """Samples of a batch."""
    return 1 if stack is None else feeds[stack.source].shape[stack.axis]
