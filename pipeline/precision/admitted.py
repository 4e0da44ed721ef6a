"""Which formats ONNX itself lets a node compute in, at the model's opset."""

from __future__ import annotations

import functools

import onnx_ir as ir
from onnx import defs

from pipeline.core.errors import GraphError
from pipeline.core.formats import Format
from pipeline.precision.semantics import Movement, OpSemantics

_TYPES = {Format.FP16: "tensor(float16)", Format.BF16: "tensor(bfloat16)"}


def admits(node: ir.Node, row: OpSemantics, opset: int, low: Format) -> bool:
    """Whether ONNX types `node` in the low format, operands that stay fp32 aside.

    A node that holds subgraphs, calls a local function or passes sequences never does.
    """
    if row.movement is Movement.CONTROL:
        return False
    return low in _formats(row.op, opset)


@functools.cache
def _formats(op: str, opset: int) -> frozenset[Format]:
    """Low formats among the types of the operator's first operand and first result, where those may be float."""
    try:
        schema = defs.get_schema(op, opset, "")
    except defs.SchemaError as error:
        raise GraphError(f"operator {op} is not in opset {opset}", hint="export at a newer opset") from error
    kinds = [set(item.types) for item in (*schema.inputs[:1], schema.outputs[0])]
    if op == "Cast":
        kinds = kinds[1:]
    floats = [types for types in kinds if "tensor(float)" in types]
    return frozenset(low for low, name in _TYPES.items() if all(name in types for types in floats))
