"""What constants that are multiplied by powers of two would lose in the low format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pipeline.core.formats import Format
from pipeline.precision.rescale.exponents import Exponents


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What one constant loses.

    Attributes:
        name: The constant.
        nonzero: Its elements that are not zero.
        subnormal: Elements that are subnormal or lost in the low format because of it.
        overflow: Elements beyond the low format because of it.
    """

    name: str
    nonzero: int
    subnormal: int
    overflow: int

    @property
    def share(self) -> float:
        """Share of the elements that become subnormal."""
        return self.subnormal / max(self.nonzero, 1)


def of_constant(value: ir.Value, edits: Sequence[Exponents], low: Format) -> Loss:
    """What `value` (fp32) loses when it is stored in `low` times powers of two."""
    tensor = value.const_value
    if tensor is None:
        raise ValueError(f"{value.name} is no constant")
    before = np.abs(tensor.numpy())
    after = before
    for edit in edits:
        after = edit.scale(after)
    limits = low.limits
    # Half a step under the smallest normal number the tie goes to the even significand: the normal number.
    normal = np.float32(limits.smallest_normal - limits.smallest_subnormal / 2)
    small = (after < normal) & (after > 0)
    large = after >= np.float32(limits.overflow_from)
    return Loss(
        name=str(value.name),
        nonzero=int(np.count_nonzero(after)),
        subnormal=int(np.count_nonzero(small & (np.broadcast_to(before, after.shape) >= normal))),
        overflow=int(np.count_nonzero(large & (np.broadcast_to(before, after.shape) < limits.overflow_from))),
    )
