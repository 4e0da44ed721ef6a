"""Constant nodes become initializers, so that there is one kind of constant."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import Fate


def lift(model: ir.Model) -> tuple[Fate, ...]:
    """Turn every numeric Constant node of the main graph into an initializer of the same name, in place.

    Strings, sparse tensors and Constants that are graph outputs stay as they are, and so does every subgraph.
    """
    for node in list(model.graph):
        if node.op_type == "Constant" and node.domain == "" and not node.outputs[0].is_graph_output():
            tensor = _tensor(node)
            if tensor is not None:
                _lift_one(model.graph, node, tensor)
    return ()


def _lift_one(graph: ir.Graph, node: ir.Node, tensor: ir.TensorProtocol) -> None:
    old = node.outputs[0]
    new = ir.val(old.name, dtype=tensor.dtype, shape=ir.Shape(tensor.shape.numpy()), const_value=tensor)
    new.metadata_props.update(old.metadata_props)
    old.replace_all_uses_with(new)
    graph.remove(node, safe=True)
    graph.register_initializer(new)


def _tensor(node: ir.Node) -> ir.TensorProtocol | None:
    name = node.outputs[0].name
    for key, attribute in node.attributes.items():
        if key == "value":
            tensor = attribute.as_tensor()
            return None if tensor.dtype == ir.DataType.STRING else tensor
        if key in ("value_float", "value_floats"):
            return ir.tensor(np.array(attribute.value, dtype=np.float32), name=name)
        if key in ("value_int", "value_ints"):
            return ir.tensor(np.array(attribute.value, dtype=np.int64), name=name)
    return None
