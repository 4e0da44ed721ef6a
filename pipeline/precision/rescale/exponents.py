"""Powers of two that a tensor is held times: one for all of it, or one a channel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponents:
    """A tensor is held times 2^value.

    Attributes:
        values: One, or one a channel.
        axis: The channels' axis, counted from the end (-1 is the last); None where there is one value.
    """

    values: tuple[int, ...] = (0,)
    axis: int | None = None

    def __post_init__(self) -> None:
        if self.axis is None and len(self.values) != 1:
            raise ValueError(f"{len(self.values)} exponents and no axis")
        if self.axis is not None and self.axis >= 0:
            raise ValueError(f"the axis of exponents is counted from the end, got {self.axis}")

    @staticmethod
    def along(values: Iterable[int], axis: int | None) -> Exponents:
        """Exponents of channels; one value where all are the same."""
        listed = tuple(int(value) for value in values)
        if len(set(listed)) == 1:
            return Exponents(values=listed[:1])
        return Exponents(values=listed, axis=axis)

    @property
    def zero(self) -> bool:
        """Whether nothing is scaled."""
        return self.values == (0,)

    @property
    def uniform(self) -> bool:
        """Whether all channels have the same exponent."""
        return self.axis is None

    @property
    def lowest(self) -> int:
        """The most negative exponent."""
        return min(self.values)

    def plus(self, other: Exponents) -> Exponents | None:
        """Both together; None where they lie along different axes."""
        if not self.uniform and not other.uniform and (self.axis, len(self.values)) != (other.axis, len(other.values)):
            return None
        length = max(len(self.values), len(other.values))
        one, two = (item.values * (length if item.uniform else 1) for item in (self, other))
        axis = other.axis if self.uniform else self.axis
        return Exponents.along((a + b for a, b in zip(one, two, strict=True)), axis)

    def times(self, factor: int) -> Exponents:
        """Each value times a whole number."""
        return Exponents.along((value * factor for value in self.values), self.axis)

    def halved(self) -> Exponents | None:
        """Half of each value; None where that is no whole number."""
        if any(value % 2 for value in self.values):
            return None
        return Exponents.along((value // 2 for value in self.values), self.axis)

    def at(self, axis: int) -> Exponents:
        """The same along another axis."""
        return self if self.uniform else Exponents(values=self.values, axis=axis)

    def array(self) -> npt.NDArray[np.int32]:
        """The values in a shape that broadcasts against the tensor."""
        values = np.array(self.values, np.int32)
        return values.reshape(()) if self.axis is None else values.reshape(-1, *[1] * (-1 - self.axis))

    def scale(self, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """`array` (fp32) times the powers of two, which is exact unless it under- or overflows."""
        scaled: npt.NDArray[np.float32] = np.ldexp(array.astype(np.float32, copy=False), self.array())
        return scaled


NONE = Exponents()
"""Not scaled."""
