"""Types and shapes of all tensors, by ONNX's own inference, without losing the names of dynamic axes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

Dim = int | str | None


def infer(model: ir.Model) -> None:
    """Infer types and shapes in place; what is already known stays.

    ONNX's inference invents names (`unk__3`) for dimensions that it cannot follow. A size or a name that the model had
    before is never replaced by one of those; an invented name, of this inference or of an earlier one, is dropped.
    """
    known = {id(value): (value.dtype, value.shape) for value in _values(model)}
    with _group_norms_understood(model):
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    for value in _values(model):
        dtype, shape = known[id(value)]
        if dtype is not None:
            value.dtype = dtype
        value.shape = _merged(shape, value.shape)


@contextmanager
def _group_norms_understood(model: ir.Model) -> Iterator[None]:
    """ONNX 1.23 infers nothing for GroupNormalization: its result is typed as that of InstanceNormalization."""
    nodes = [node for node in model.graph.all_nodes() if node.op_type == "GroupNormalization" and node.domain == ""]
    for node in nodes:
        node.op_type = "InstanceNormalization"
    try:
        yield
    finally:
        for node in nodes:
            node.op_type = "GroupNormalization"


def _values(model: ir.Model) -> list[ir.Value]:
    nodes = (value for node in model.graph.all_nodes() for value in node.outputs)
    return [*model.graph.inputs, *nodes]


def _merged(before: ir.Shape | None, after: ir.Shape | None) -> ir.Shape | None:
    if before is None:
        return None if after is None else ir.Shape([_honest(dim) for dim in after])
    if after is None or len(before) != len(after):
        return before
    return ir.Shape([_better(old, new) for old, new in zip(before, after, strict=True)])


def _better(old: int | ir.SymbolicDim, new: int | ir.SymbolicDim) -> Dim:
    if isinstance(old, int):
        return old
    if isinstance(new, int):
        return new
    known = _honest(old)
    return _honest(new) if known is None else known


def _honest(dim: int | ir.SymbolicDim) -> Dim:
    if isinstance(dim, int):
        return dim
    name = dim.value
    return None if name is None or name.startswith("unk__") else name
