"""The whole file."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.spec.data import CalibrationSpec, TaskSpec
from pipeline.core.spec.deployment import BuildSpec, PrecisionSpec, ToleranceSpec
from pipeline.core.spec.sources import ModelSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class InputSpec:
    """One graph input.

    Attributes:
        dtype: NumPy name of its element type: `int64`, `int32`, `float32` or `bool`.
        axes: One entry a dimension: the name of an axis (dynamic) or a size (fixed).
        masks: Axes that this input masks: 1 where an element counts, 0 where it is padding.
        range: Smallest and largest value that it can hold, where whoever feeds it keeps to that: what bounds of tensors
            start from, and what is tried as an extreme.
    """

    dtype: str
    axes: tuple[str | int, ...]
    masks: tuple[str, ...] = ()
    range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.dtype not in {"int64", "int32", "float32", "bool"}:
            raise ValueError(f"dtype must be int64, int32, float32 or bool, got {self.dtype!r}")
        strangers = [axis for axis in self.masks if axis not in self.axes]
        if strangers:
            raise ValueError(f"masks names {strangers}, which are not among its axes {list(self.axes)}")
        if self.range is not None and not -math.inf < self.range[0] <= self.range[1] < math.inf:
            raise ValueError(f"range must be finite, the smallest value first, got {list(self.range)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisRange:
    """Sizes of one dynamic axis: the optimisation profile."""

    min: int
    opt: int
    max: int

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max:
            raise ValueError(f"sizes must satisfy 1 <= min <= opt <= max, got {self.min}, {self.opt}, {self.max}")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """All that `engines/<name>/engine.toml` says.

    Attributes:
        name: Name of the folder that holds the file.
        folder: That folder.
        description: One line for `trt-pipeline list`.
        model: Which module.
        inputs: Graph inputs by name, in order.
        axes: Sizes of every dynamic axis.
        calibration: Which data.
        task: The task metric, if the model has one that can be measured here.
        precision: How precision is decided.
        tolerances: What a comparison may differ by.
        build: How the plan is built.
    """

    name: str
    folder: Path
    description: str
    model: ModelSpec
    inputs: dict[str, InputSpec]
    axes: dict[str, AxisRange] = field(default_factory=dict)
    calibration: CalibrationSpec
    task: TaskSpec | None = None
    precision: PrecisionSpec = field(default_factory=PrecisionSpec)
    tolerances: ToleranceSpec = field(default_factory=ToleranceSpec)
    build: BuildSpec = field(default_factory=BuildSpec)

    def __post_init__(self) -> None:
        if not self.inputs:
            raise ValueError("inputs must name at least one graph input")
        used = {axis for spec in self.inputs.values() for axis in spec.axes if isinstance(axis, str)}
        if missing := sorted(used - self.axes.keys()):
            raise ValueError(f"axes has no sizes for {missing}, which inputs use")
        if unused := sorted(self.axes.keys() - used):
            raise ValueError(f"axes names {unused}, which no input uses")
