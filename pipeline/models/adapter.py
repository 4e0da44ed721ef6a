"""Any module behind one calling convention: graph inputs by position, graph outputs as a tuple."""

from __future__ import annotations

from collections.abc import Mapping
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
        outputs: Graph outputs in order: fields of the module's output where it has fields, else names for its elements.
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
        if isinstance(result, torch.Tensor):
            result = (result,)
        if isinstance(result, Mapping):
            return tuple(self._field(result, name) for name in self._outputs)
        if len(result) != len(self._outputs):
            raise ExportError(
                f"the module returns {len(result)} outputs, and model.outputs names {len(self._outputs)}",
                where="model.outputs",
            )
        return tuple(result)

    def _field(self, result: Mapping[str, Any], name: str) -> torch.Tensor:
        if not isinstance(result.get(name), torch.Tensor):
            known = ", ".join(key for key, value in result.items() if isinstance(value, torch.Tensor))
            raise ExportError(f"the module's output has no tensor '{name}'; it has {known}", where="model.outputs")
        tensor: torch.Tensor = result[name]
        return tensor
