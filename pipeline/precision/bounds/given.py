"""What the spec says of inputs, as far as bounds need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.core.spec import AxisRange, InputSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What is known before any sample is seen.

    Attributes:
        axes: Largest size of each dynamic axis, by name.
        inputs: Smallest and largest value of the inputs that say so, masks among them.
    """

    axes: Mapping[str, int] = field(default_factory=dict)
    inputs: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @staticmethod
    def of(inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange]) -> Given:
        """What a spec says: a mask holds zeros and ones."""
        said = {name: spec.range for name, spec in inputs.items() if spec.range is not None}
        masks = {name: (0.0, 1.0) for name, spec in inputs.items() if spec.masks}
        return Given(axes={name: sizes.max for name, sizes in axes.items()}, inputs={**masks, **said})
