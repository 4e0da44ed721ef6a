"""Operators whose result type stands in an attribute, not in an operand."""

from __future__ import annotations

import onnx_ir as ir

from pipeline.core.errors import GraphError
from pipeline.core.formats import Format
from pipeline.precision.weights import onnx_type, rounded

_TYPE = {
    "Cast": "to",
    "EyeLike": "dtype",
    "BlackmanWindow": "output_datatype",
    "HammingWindow": "output_datatype",
    "HannWindow": "output_datatype",
    "MelWeightMatrix": "output_datatype",
}


def set_result_type(node: ir.Node, format_: Format) -> None:
    """Make `node`, which gives fp32, give another format, where an attribute decides that."""
    if node.op_type in _TYPE:
        node.attributes.add(ir.AttrInt64(_TYPE[node.op_type], onnx_type(format_)))
    elif node.op_type in ("Constant", "ConstantOfShape"):
        _set_tensor(node, constant(node), format_)


def constant(node: ir.Node) -> ir.TensorProtocol:
    """The tensor of a Constant node, or the fill of a ConstantOfShape.

    Raises:
        GraphError: It holds something other than a tensor or numbers.
    """
    if tensor := node.attributes.get_tensor("value"):
        return tensor
    if "value_float" in node.attributes:
        return ir.tensor(node.attributes["value_float"].as_float(), dtype=ir.DataType.FLOAT)
    if "value_floats" in node.attributes:
        return ir.tensor(list(node.attributes["value_floats"].as_floats()), dtype=ir.DataType.FLOAT)
    if "value_int" in node.attributes:
        return ir.tensor(node.attributes["value_int"].as_int(), dtype=ir.DataType.INT64)
    if "value_ints" in node.attributes:
        return ir.tensor(list(node.attributes["value_ints"].as_ints()), dtype=ir.DataType.INT64)
    if node.op_type == "ConstantOfShape":
        return ir.tensor([0.0], dtype=ir.DataType.FLOAT)
    raise GraphError("a Constant of this kind holds no numbers", where=f"node {node.name}")


def _set_tensor(node: ir.Node, tensor: ir.TensorProtocol, format_: Format) -> None:
    for name in ("value_float", "value_floats"):
        node.attributes.pop(name, None)
    node.attributes.add(ir.AttrTensor("value", rounded(tensor, format_, tensor.name or "")))
