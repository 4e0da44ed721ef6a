"""Runs of a module on example inputs and on resized ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from pipeline.core.errors import SourceError
from pipeline.models.adapter import named_tensors

Example = Mapping[str, torch.Tensor]
"""Example inputs by name, in the order of `forward`'s parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Dimensions of inputs that always have one size.

    Attributes:
        places: Input and position of each.
        size: Their size in the example.
    """

    places: tuple[tuple[str, int], ...]
    size: int


def run(module: torch.nn.Module, example: Example) -> dict[str, torch.Tensor]:
    """The module's output tensors by name (`adapter.named_tensors`).

    Raises:
        SourceError: The module cannot take these inputs.
    """
    try:
        with torch.inference_mode():
            return dict(named_tensors(module(*example.values())))
    except Exception as error:  # a module's forward raises what it likes
        shapes = ", ".join(f"{name} {list(tensor.shape)}" for name, tensor in example.items())
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SourceError(f"{type(module).__name__} cannot take its example inputs ({shapes}): {reason}") from error


def resized(example: Example, axis: Axis, size: int) -> dict[str, torch.Tensor]:
    """`example` cut or repeated to `size` along one axis."""
    changed = dict(example)
    for name, position in axis.places:
        tensor = changed[name]
        changed[name] = tensor.index_select(position, torch.arange(size) % tensor.shape[position])
    return changed


def takes(module: torch.nn.Module, example: Example) -> bool:
    """Whether the module can take these inputs, and no output is empty or not finite."""
    try:
        found = run(module, example)
    except SourceError:
        return False
    return bool(found) and all(tensor.numel() > 0 and bool(tensor.isfinite().all()) for tensor in found.values())
