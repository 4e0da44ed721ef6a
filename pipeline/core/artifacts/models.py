"""ONNX files, and what became of their tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from pipeline.core.artifacts.sources import Provenance
from pipeline.core.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Name, element type and shape of a graph input or output.

    Attributes:
        name: Tensor name.
        dtype: NumPy name of the element type (`bfloat16` for BFLOAT16).
        shape: One entry a dimension: a size, or the name of a dynamic axis.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one tensor of the model that a rewrite was given.

    Attributes:
        tensor: Its name before.
        now: Its name after, or None if it is gone.
        exponent: The tensor after is 2^exponent times the tensor before.
        exponents: Exponents that come on top of `exponent`, one a channel; empty where all channels have the same.
        axis: Axis of `now` along which `exponents` lie, counted from the end (-1 is the last).
        layout: Permutation of axes that was applied: axis i of `now` is axis layout[i] of `tensor`; None for none.
        masked: Where not None, elements of both up to this number are masked, and differ in nothing that counts.
        reason: Why it is gone or changed; required where `now` is None.
    """

    tensor: str
    now: str | None
    exponent: int = 0
    exponents: tuple[int, ...] = ()
    axis: int = -1
    layout: tuple[int, ...] | None = None
    masked: float | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.now is None and not self.reason:
            raise ValueError(f"tensor {self.tensor} is gone without a reason")
        if self.axis >= 0:
            raise ValueError(f"the axis of exponents is counted from the end, got {self.axis} for {self.tensor}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of what was delivered, and what it found.

    Attributes:
        name: Such as `parsed` or `built`.
        passed: Whether it holds.
        summary: One line with the figures.
        problems: One line each; empty where it passed.
        notes: What else there is to say, one line each.
        unobservable: What could not be seen, with the reason, one line each.
    """

    name: str
    passed: bool
    summary: str
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unobservable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """An ONNX file whose weights lie beside it as external data.

    Attributes:
        path: `model.onnx`; its weights are `model.onnx.data` in the same folder.
        opset: Version of the default operator set.
        inputs: Graph inputs in order.
        outputs: Graph outputs in order.
        provenance: Where the weights come from.
        fates: What became of each tensor of the model that this one was made from. Tensors that are not named
            kept their name, scale and layout.
        given: Formats that an fp16 model arrived with, by node name (its own precision plan); empty otherwise.
        checks: What was shown of it when it was made (export: equality with the PyTorch module at several shapes).
    """

    path: Path
    opset: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    provenance: Provenance
    fates: tuple[Fate, ...] = ()
    given: dict[str, Format] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Stripped:
    """A model under ordinals, and the one place that tells what they stand for.

    Attributes:
        model: The model.
        names: JSON file with every old name and what it became; it never goes into a bundle.
        fp32: Nodes that the spec's patterns for fp32 named, by their new names.
        bf16: Likewise for bf16.
        fp16: Likewise for fp16.
    """

    model: OnnxModel
    names: Path
    fp32: tuple[str, ...] = ()
    bf16: tuple[str, ...] = ()
    fp16: tuple[str, ...] = ()
