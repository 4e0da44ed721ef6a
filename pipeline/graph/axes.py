"""Names of dynamic axes, in every shape of a graph."""

from __future__ import annotations

import re
from collections.abc import Mapping

import onnx_ir as ir


def rename(model: ir.Model, names: Mapping[str, str]) -> None:
    """Rename dynamic axes in place, in expressions too: with s0 renamed batch, `2*s0` becomes `2*batch`."""
    if not names:
        return
    pattern = re.compile(r"(?<![\w.])(" + "|".join(re.escape(name) for name in names) + r")(?![\w.])")
    for graph in model.graphs():
        for value in [*graph.inputs, *graph.outputs, *(out for node in graph for out in node.outputs)]:
            if value.shape is not None:
                value.shape = ir.Shape([_renamed(dim, pattern, names) for dim in value.shape])


def _renamed(dim: int | ir.SymbolicDim, pattern: re.Pattern[str], names: Mapping[str, str]) -> int | str | None:
    if isinstance(dim, int):
        return dim
    return None if dim.value is None else pattern.sub(lambda found: names[found[1]], dim.value)
