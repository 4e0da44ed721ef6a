"""The whole interface of a module, from its example inputs."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import torch

from pipeline.core.errors import SourceError
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.models.interface import axes, limits, names
from pipeline.models.interface.trial import Axis, Example, resized, run

MASK = "attention_mask"
"""The one mask whose meaning its name gives: 1 counts, 0 is padding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """What a module takes and returns.

    Attributes:
        inputs: Graph inputs by name, in order.
        axes: Sizes of every dynamic axis.
        outputs: Names of the graph outputs, in order.
        scale: Largest root mean square of an output on the example inputs.
    """

    inputs: dict[str, InputSpec]
    axes: dict[str, AxisRange]
    outputs: tuple[str, ...]
    scale: float


def of_module(module: torch.nn.Module, example: Example) -> Interface:
    """Find out what a module takes and returns: by running it, and by tracing it once.

    Args:
        module: In evaluation mode.
        example: Example inputs by name, in the order of `forward`'s parameters. Two samples tell more than one.

    Raises:
        SourceError: The module cannot take them, they are of a type that no graph input has, or it returns no tensor.
    """
    _require_order(module, example)
    found = run(module, example)
    if not found:
        raise SourceError(f"{type(module).__name__} returns no tensor")
    named, ranges = _named(module, axes.widened(module, example))
    return Interface(
        inputs={name: _input(name, tensor, axes.by_place(named)) for name, tensor in example.items()},
        axes=ranges,
        outputs=names.of_outputs(module, tuple(found), set(example)),
        scale=max(_rms(tensor) for tensor in found.values()),
    )


def _named(module: torch.nn.Module, example: Example) -> tuple[dict[str, Axis], dict[str, AxisRange]]:
    """Dynamic axes by name, the batch first, and their sizes."""
    found = axes.varying(module, example)
    batch = axes.batch(module, example, found)
    named: dict[str, Axis] = {}
    ranges: dict[str, AxisRange] = {}
    single = example
    if batch is not None:
        named[names.BATCH], ranges[names.BATCH] = batch, limits.of_batch(module, example, batch)
        single = resized(example, batch, ranges[names.BATCH].min)
    for axis in found:
        if axis is not batch:
            name = names.of_axis(axis, example, named)
            named[name], ranges[name] = axis, limits.of_axis(module, single, axis)
    return named, ranges


def _input(name: str, tensor: torch.Tensor, places: dict[tuple[str, int], str]) -> InputSpec:
    sizes = tuple(places.get((name, position), size) for position, size in enumerate(tensor.shape))
    masks = tuple(axis for axis in sizes[1:] if isinstance(axis, str)) if name == MASK else ()
    dtype = str(tensor.dtype).removeprefix("torch.")
    try:
        return InputSpec(dtype=dtype, axes=sizes, masks=masks)
    except ValueError as error:
        hint = "take one of these types, and convert it in `forward`"
        raise SourceError(str(error), where=f"example input {name}", hint=hint) from error


def _require_order(module: torch.nn.Module, example: Example) -> None:
    """Inputs are passed by position: names that are parameters must stand where these do."""
    parameters = list(inspect.signature(module.forward).parameters)
    for position, name in enumerate(example):
        if name in parameters and parameters.index(name) != position:
            raise SourceError(
                f"example input {position} is {name}, and forward's parameters are {', '.join(parameters)}",
                hint="give them in forward's order, without gaps: wrap the module where one is left out",
            )


def _rms(tensor: torch.Tensor) -> float:
    return float(tensor.double().square().mean().sqrt()) if tensor.is_floating_point() else 0.0
