"""Modules that a Python function of the user's makes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from pipeline.core.artifacts import Weights
from pipeline.core.callables import resolve
from pipeline.core.errors import SourceError
from pipeline.core.spec import InputSpec

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Have the packages in `folder` importable, before those that are installed, and leave no bytecode there.

    The folder is an entry of the store, which a file that is added would damage.
    """
    wrote = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        sys.dont_write_bytecode = wrote


def load(reference: str, engine: Path, weights: Weights) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """Call the function; see `ModelSpec.callable` for what it gets and returns.

    Args:
        reference: `file.py:function`, the file relative to `engine`, or `module:function`.
        engine: Folder of `engine.toml`.
        weights: The checkpoint, which the function gets the path of; packages beside it can be imported while the
            function runs.

    Returns:
        The module in fp32 and evaluation mode, and example inputs by graph input name, in the order of `forward`'s
        positional parameters.

    Raises:
        SourceError: There is no such function, or it returns something else. What the function itself raises comes
            through as it is.
    """
    with importable(weights.folder):
        result = resolve(reference, engine)(weights.checkpoint)
    if not (isinstance(result, tuple) and len(result) == 2):
        raise SourceError(f"returned {type(result).__name__}, expected (module, example inputs)", where=reference)
    module, example = result
    if not isinstance(module, torch.nn.Module):
        raise SourceError(f"returned a {type(module).__name__} as module, expected torch.nn.Module", where=reference)
    named = _named(example, module, reference)
    strangers = [name for name, value in named.items() if not isinstance(value, torch.Tensor)]
    if strangers:
        raise SourceError(f"example inputs {strangers} are not tensors", where=reference)
    return module.float().eval().requires_grad_(False), named


def _named(example: Any, module: torch.nn.Module, reference: str) -> dict[str, torch.Tensor]:
    """Example inputs by name: those of a tuple, or a lone tensor, have the names of `forward`'s parameters."""
    if isinstance(example, Mapping):
        return dict(example)
    values = list(example) if isinstance(example, tuple | list) else [example]
    names = [name for name, item in inspect.signature(module.forward).parameters.items() if item.kind in POSITIONAL]
    if len(names) < len(values):
        raise SourceError(
            f"returned {len(values)} example inputs, and forward has the parameters {names}",
            where=reference,
            hint="return them as a dictionary: input name to tensor",
        )
    return dict(zip(names, values, strict=False))


def require_inputs(example: Mapping[str, torch.Tensor], inputs: Mapping[str, InputSpec], reference: str) -> None:
    """Check that example inputs are the spec's inputs.

    Raises:
        SourceError: Names, order, element types or sizes differ.
    """
    if list(example) != list(inputs):
        raise SourceError(
            f"example inputs are {list(example)}, the spec's inputs are {list(inputs)}",
            where=reference,
            hint="both are in the order of forward's parameters",
        )
    for name, spec in inputs.items():
        found = str(example[name].dtype).removeprefix("torch.")
        shape = tuple(example[name].shape)
        fits = len(shape) == len(spec.axes) and all(
            isinstance(axis, str) or axis == size for axis, size in zip(spec.axes, shape, strict=True)
        )
        if found != spec.dtype or not fits:
            raise SourceError(
                f"example input {name} is {found} {list(shape)}, the spec says {spec.dtype} {list(spec.axes)}",
                where=reference,
            )
