"""A few operators written as ONNX text, stamped into a graph as often as needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import onnx_ir as ir

HEAD = """
<ir_version: 10, opset_import: ["" : 20, "pipeline" : 1]>
unused (float x) => (float y) {{ y = Identity(x) }}
<domain: "pipeline", opset_import: ["" : 20]>
{body}
"""


@cache
def parse(body: str) -> ir.Function:
    """One function in ONNX text, `Name (inputs) => (outputs) { … }`, opset 20.

    Subgraphs may use the function's values; every value has a name of its own.
    """
    model = ir.from_onnx_text(HEAD.format(body=body))
    return next(iter(model.functions.values()))


def stamp(template: ir.Function, inputs: Sequence[ir.Value], prefix: str) -> tuple[list[ir.Node], list[ir.Value]]:
    """Copy the nodes of `template` with its inputs bound to `inputs`.

    Args:
        template: A function from `parse`.
        inputs: One value an input of the template.
        prefix: Put before the name of each new node and value; the caller keeps it unique.

    Returns:
        The nodes, in order and in no graph yet, and the values that stand for the template's outputs.
    """
    bound = dict(zip(template.inputs, inputs, strict=True))
    nodes = [copy_node(node, bound, prefix) for node in template]
    return nodes, [bound[output] for output in template.outputs]


def copy_node(node: ir.Node, bound: dict[ir.Value, ir.Value], prefix: str = "") -> ir.Node:
    """Copy `node`, subgraphs included, onto other operands.

    Args:
        node: The node.
        bound: What stands for each of its operands and for what its subgraphs use; its results are added.
        prefix: Put before the names of the copy and its results.
    """
    copy = ir.Node(
        node.domain,
        node.op_type,
        [None if value is None else bound[value] for value in node.inputs],
        [_copy_attribute(attribute, bound, prefix) for attribute in node.attributes.values()],
        num_outputs=len(node.outputs),
        name=f"{prefix}{node.name or node.outputs[0].name}",
        metadata_props=dict(node.metadata_props),
    )
    for old, new in zip(node.outputs, copy.outputs, strict=True):
        new.name = f"{prefix}{old.name}" if old.name else ""
        new.type, new.shape = copy_of_type(old), old.shape
        bound[old] = new
    return copy


def copy_of_type(value: ir.Value) -> ir.TypeProtocol | None:
    """The type of `value`, as an object of its own: setting `Value.dtype` changes the type in place."""
    return ir.TensorType(value.type.dtype) if isinstance(value.type, ir.TensorType) else value.type


def _copy_attribute(attribute: ir.Attr, bound: Mapping[ir.Value, ir.Value], prefix: str) -> ir.Attr:
    if attribute.type is not ir.AttributeType.GRAPH:
        return attribute
    graph = attribute.as_graph()
    scope = dict(bound)
    own = []
    for value in graph.initializers.values():
        scope[value] = ir.Value(
            name=f"{prefix}{value.name}", type=copy_of_type(value), shape=value.shape, const_value=value.const_value
        )
        own.append(scope[value])
    for value in graph.inputs:
        scope[value] = ir.Value(name=f"{prefix}{value.name}", type=copy_of_type(value), shape=value.shape)
    inputs = [scope[value] for value in graph.inputs]
    nodes = [copy_node(node, scope, prefix) for node in graph]
    outputs = [scope[value] for value in graph.outputs]
    return ir.AttrGraph(
        attribute.name, ir.Graph(inputs, outputs, nodes=nodes, initializers=own, name=f"{prefix}{graph.name}")
    )
