"""Refuse a graph in which a tensor has no element type: rewrites and strong typing both need every one."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from pipeline.core.errors import GraphError

SHOWN = 5
"""Untyped tensors that an error names."""

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})
"""Element types of tensors that TensorRT computes in, and that comparisons are about."""


def untyped(model: ir.Model) -> Iterator[str]:
    """Names of all tensors without an element type, subgraphs included, in graph order."""
    for value in model.graph.inputs:
        if value.dtype is None:
            yield str(value.name)
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value.name and value.dtype is None:
                yield value.name


def require_typed(model: ir.Model) -> None:
    """Check that every tensor has an element type.

    Raises:
        GraphError: Some do not; the first of them are named.
    """
    names = list(untyped(model))
    if not names:
        return
    shown = ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
    raise GraphError(
        f"no element type is known for {shown}",
        where=str(model.graph.name),
        hint="shape inference stops at operators outside the ONNX standard: export with standard operators only",
    )
