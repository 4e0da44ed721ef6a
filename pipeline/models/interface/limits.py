"""Sizes of a dynamic axis, found by running the module at them."""

from __future__ import annotations

import torch

from pipeline.core.spec import AxisRange
from pipeline.models.interface.trial import Axis, Example, resized, run, takes

BATCH = AxisRange(min=1, opt=8, max=32)
"""Sizes of the batch where the module takes a single sample."""

TOKENS = 512
"""Longest sequence of integers that is tried."""

TIMES = 4
"""Longest axis of floats that is tried, in lengths of the example's."""


def of_batch(module: torch.nn.Module, example: Example, axis: Axis) -> AxisRange:
    """Sizes of the batch: from one sample, or the least that the module takes."""
    least = _least(module, example, axis)
    return AxisRange(min=least, opt=max(BATCH.opt, least), max=max(BATCH.max, least))


def of_axis(module: torch.nn.Module, example: Example, axis: Axis) -> AxisRange:
    """Sizes of another axis: from the least to the largest that the module takes, best at the example's.

    The largest is tried no further than `TOKENS`, or `TIMES` the example's size where the input is no integer.
    """
    integer = not example[axis.places[0][0]].is_floating_point()
    wanted = max(TOKENS if integer else TIMES * axis.size, axis.size)
    while wanted > axis.size and not takes(module, resized(example, axis, wanted)):
        wanted = max(wanted // 2, axis.size)
    return AxisRange(min=_least(module, example, axis), opt=axis.size, max=wanted)


def _least(module: torch.nn.Module, example: Example, axis: Axis) -> int:
    """Smallest size that the module takes, where it takes all that are larger up to the example's.

    Beyond a size of 1 itself, one at which an output shrinks to a single step is left out: tracing takes it for a fact.
    """
    if takes(module, resized(example, axis, 1)):
        return 1
    low, high = 1, axis.size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _keeps_steps(module, example, resized(example, axis, middle)) else (middle, high)
    return high


def _keeps_steps(module: torch.nn.Module, example: Example, shorter: Example) -> bool:
    if not takes(module, shorter):
        return False
    pairs = zip(run(module, example).values(), run(module, shorter).values(), strict=True)
    return not any(
        1 in {new for old, new in zip(whole.shape, cut.shape, strict=True) if old > 1} for whole, cut in pairs
    )
