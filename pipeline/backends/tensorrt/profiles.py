"""Optimisation profiles from a spec's inputs and axes."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.backends.tensorrt.records import Shapes
from pipeline.core.spec import AxisRange, InputSpec


def of_inputs(inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange]) -> dict[str, Shapes]:
    """Minimum, optimum and maximum shape of every input, scalars and fixed shapes included."""
    return {
        name: (
            tuple(_range(axis, axes).min for axis in spec.axes),
            tuple(_range(axis, axes).opt for axis in spec.axes),
            tuple(_range(axis, axes).max for axis in spec.axes),
        )
        for name, spec in inputs.items()
    }


def _range(axis: str | int, axes: Mapping[str, AxisRange]) -> AxisRange:
    return axes[axis] if isinstance(axis, str) else AxisRange(min=axis, opt=axis, max=axis)
