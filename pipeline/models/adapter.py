"""Any module behind one calling convention: graph inputs by position, graph outputs as a tuple."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from pipeline.core.errors import ExportError

INNER = "module"
"""Attribute that holds the user's module: the first part of every module path, which export strips."""


class Adapter(torch.nn.Module):  # type: ignore[misc]
    """Calls a module with the spec's inputs and picks the spec's outputs.

    Args:
        module: The user's module.
        inputs: Graph inputs in order; passed by these names where `by_name`, else by position.
        outputs: Graph outputs in order: paths in the module's output (`named_tensors`) where it has fields, else names
            for its tensors, nested ones one by one.
        by_name: How inputs are passed.
    """

    def __init__(
        self, module: torch.nn.Module, *, inputs: tuple[str, ...], outputs: tuple[str, ...], by_name: bool
    ) -> None:
        super().__init__()
        self.module = module
        self._inputs = inputs
        self._outputs = outputs
        self._by_name = by_name

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """One tensor a graph input, in order, to one tensor a graph output, in order.

        Raises:
            ExportError: The module's output has no such field, or another number of elements.
        """
        if self._by_name:
            return self._picked(self.module(**dict(zip(self._inputs, tensors, strict=True))))
        return self._picked(self.module(*tensors))

    def _picked(self, result: Any) -> tuple[torch.Tensor, ...]:
        found = dict(named_tensors(result))
        if set(self._outputs) <= found.keys():
            return tuple(found[name] for name in self._outputs)
        if _has_fields(result):
            missing = next(name for name in self._outputs if name not in found)
            raise ExportError(
                f"the module's output has no tensor '{missing}'; it has {', '.join(found)}", where="model.outputs"
            )
        if len(found) != len(self._outputs):
            raise ExportError(
                f"the module returns {len(found)} outputs, and model.outputs names {len(self._outputs)}",
                where="model.outputs",
            )
        return tuple(found.values())


def named_tensors(result: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors in what a module returns, in order, by path: fields and positions joined by `_`.

    Mappings, dataclasses and named tuples have fields, other tuples and lists have positions; what is neither (None,
    numbers, caches) holds no tensors. A lone tensor has the empty path.
    """
    if isinstance(result, torch.Tensor):
        yield name, result
        return
    for key, value in _parts(result):
        yield from named_tensors(value, f"{name}_{key}" if name else key)


def _parts(result: Any) -> list[tuple[str, Any]]:
    if isinstance(result, Mapping):
        return [(str(key), value) for key, value in result.items()]
    if dataclasses.is_dataclass(result):
        return [(field.name, getattr(result, field.name)) for field in dataclasses.fields(result)]
    if isinstance(result, tuple) and (fields := getattr(result, "_fields", None)):
        return list(zip(fields, result, strict=True))
    if isinstance(result, tuple | list):
        return [(str(position), value) for position, value in enumerate(result)]
    return []


def _has_fields(result: Any) -> bool:
    return isinstance(result, Mapping) or dataclasses.is_dataclass(result)
