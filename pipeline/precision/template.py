"""A few operators written as ONNX text, stamped into a graph as often as needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import onnx_ir as ir

DOMAIN = "pipeline"

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
    nodes = [_copy(node, bound, prefix) for node in template]
    return nodes, [bound[output] for output in template.outputs]


def _copy(node: ir.Node, bound: dict[ir.Value, ir.Value], prefix: str) -> ir.Node:
    copy = ir.Node(
        node.domain,
        node.op_type,
        [None if value is None else bound[value] for value in node.inputs],
        [_copy_attribute(attribute, bound, prefix) for attribute in node.attributes.values()],
        num_outputs=len(node.outputs),
        name=f"{prefix}{node.outputs[0].name}",
    )
    for old, new in zip(node.outputs, copy.outputs, strict=True):
        new.name, new.type, new.shape = f"{prefix}{old.name}", old.type, old.shape
        bound[old] = new
    return copy


def _copy_attribute(attribute: ir.Attr, bound: Mapping[ir.Value, ir.Value], prefix: str) -> ir.Attr:
    if attribute.type is not ir.AttributeType.GRAPH:
        return attribute
    graph = attribute.as_graph()
    scope = dict(bound)
    for value in graph.inputs:
        scope[value] = ir.Value(name=f"{prefix}{value.name}", type=value.type, shape=value.shape)
    inputs = [scope[value] for value in graph.inputs]
    nodes = [_copy(node, scope, prefix) for node in graph]
    outputs = [scope[value] for value in graph.outputs]
    return ir.AttrGraph(attribute.name, ir.Graph(inputs, outputs, nodes=nodes, name=f"{prefix}{graph.name}"))
