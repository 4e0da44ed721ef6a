"""Which nodes of a graph compute the same whatever the inputs are."""

from __future__ import annotations

import onnx_ir as ir

_RANDOM = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial"}
)


def constant_nodes(graph: ir.Graph) -> frozenset[str]:
    """Names of nodes that depend on no graph input.

    `Shape` of a value whose shape is static counts as constant: TensorRT folds it.
    """
    inputs = set(graph.inputs)
    moving: set[ir.Value] = {value for value in inputs if not value.is_initializer()}
    names = []
    for node in graph:
        reads = [value for value in node.inputs if value is not None]
        if node.attributes and any(
            isinstance(item, ir.Attr) and item.type in _SUBGRAPHS for item in node.attributes.values()
        ):
            moving.update(node.outputs)
            continue
        static_shape = node.op_type in ("Shape", "Size") and all(_is_static(value) for value in reads)
        if node.op_type in _RANDOM or (any(value in moving for value in reads) and not static_shape):
            moving.update(node.outputs)
        else:
            names.append(str(node.name))
    return frozenset(names)


_SUBGRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)


def _is_static(value: ir.Value) -> bool:
    return value.shape is not None and all(isinstance(size, int) for size in value.shape)
