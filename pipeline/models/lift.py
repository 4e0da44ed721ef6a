"""Lift a half-precision graph to fp32, and remember which format each node computed in."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from pipeline.core.formats import Format

HALF = {ir.DataType.FLOAT16: Format.FP16, ir.DataType.BFLOAT16: Format.BF16}
TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")
"""Attributes whose value is an ONNX element type."""


def to_fp32(model: ir.Model) -> dict[str, Format]:
    """Replace every half-precision tensor by its fp32 equal, in place; types of tensors are to be inferred again.

    Returns:
        Format of each node that has float results, by name; empty, with the model untouched, where nothing is half.
    """
    if not any(value.dtype in HALF for value in _all_values(model)):
        return {}
    given = {str(node.name): form for node in model.graph.all_nodes() if (form := _format(node)) is not None}
    for node in model.graph.all_nodes():
        _lift_attributes(node)
    for value in _all_values(model):
        _lift_value(value)
    return given


def _all_values(model: ir.Model) -> list[ir.Value]:
    found = []
    for graph in model.graphs():
        found += [*graph.inputs, *graph.initializers.values(), *(out for node in graph for out in node.outputs)]
    return found


def _format(node: ir.Node) -> Format | None:
    """The narrowest format among its results; a node without float results has none."""
    types = [value.dtype for value in node.outputs]
    narrow = [HALF[dtype] for dtype in types if dtype in HALF]
    if narrow:
        return narrow[0]
    return Format.FP32 if ir.DataType.FLOAT in types else None


def _lift_value(value: ir.Value) -> None:
    if value.dtype not in HALF:
        return
    value.dtype = ir.DataType.FLOAT
    if value.const_value is not None:
        value.const_value = _lifted(value.const_value)


def _lift_attributes(node: ir.Node) -> None:
    for name, attribute in list(node.attributes.items()):
        if attribute.is_ref():
            continue
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in HALF:
            node.attributes[name] = ir.AttrTensor(name, _lifted(attribute.as_tensor()))
        elif name in TYPE_ATTRIBUTES and attribute.type == ir.AttributeType.INT and attribute.as_int() in set(HALF):
            node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))


def _lifted(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name)
