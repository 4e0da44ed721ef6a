"""Names for axes and outputs, in the field's words where the module gives none."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Collection, Sequence

import torch

from pipeline.models.interface.trial import Axis, Example

BATCH = "batch"
LEAST = 3
"""Letters of a variable whose name says something."""


def of_axis(axis: Axis, example: Example, taken: Collection[str]) -> str:
    """What an axis that is not the batch is called: `sequence`, `samples`, or where it is."""
    name, position = axis.places[0]
    tensor = example[name]
    ordinary = f"{name}_{position}"
    if position == 1 and (tensor.dim() == 3 or not tensor.is_floating_point()):
        ordinary = "sequence"
    elif position == 1 and tensor.dim() == 2:
        ordinary = "samples"
    elif position == 2 and tensor.dim() == 3:
        ordinary = "frames"
    return ordinary if ordinary not in taken else f"{name}_{position}"


def of_outputs(module: torch.nn.Module, found: Sequence[str], inputs: Collection[str]) -> tuple[str, ...]:
    """Names of the outputs: fields of what the module returns, else the variables that it returns, else numbers.

    Args:
        module: The module.
        found: Paths of its output tensors, as `adapter.named_tensors` gives them: digits where there are no fields.
        inputs: Names that are taken.
    """
    if not any(name[:1].isdigit() or not name for name in found):
        return tuple(found)
    said = _returned(module)
    if len(said) != len(found):
        said = [""] * len(found)
    plain = ["output" if len(found) == 1 else f"output_{number}" for number in range(len(found))]
    names = [word if len(word) >= LEAST else other for word, other in zip(said, plain, strict=True)]
    names = [f"{name}_out" if name in inputs else name for name in names]
    return tuple(names if len(set(names)) == len(names) else plain)


def _returned(module: torch.nn.Module) -> list[str]:
    """Variables in the last `return` of `forward`; an empty string where it returns another expression."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(type(module).forward)))
    except (OSError, TypeError, SyntaxError):
        return []
    returns = [node for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value is not None]
    if not returns:
        return []
    value = max(returns, key=lambda node: node.lineno).value
    parts = value.elts if isinstance(value, ast.Tuple | ast.List) else [value]
    return [part.id if isinstance(part, ast.Name) else "" for part in parts]
