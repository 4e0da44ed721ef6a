"""Tensors whose squares may leave the range of fp32, because a huge constant may be among their elements."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

SMALL = 1 << 16
"""Bytes up to which a constant is looked at: masks are scalars or short rows."""

LARGEST_ROOT = 1e17
"""Magnitude up to which a sum of a thousand million squares stays in the range of fp32."""

CARRIERS = frozenset(
    [
        "Add",
        "Cast",
        "Concat",
        "Expand",
        "Gather",
        "GatherElements",
        "GatherND",
        "Identity",
        "Max",
        "Min",
        "Mul",
        "Neg",
        "Pad",
        "Reshape",
        "ScatterND",
        "Slice",
        "Split",
        "Squeeze",
        "Sub",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    ]
)
"""Operators that hand on a huge element of an operand."""


def huge(graph: ir.Graph) -> set[ir.Value]:
    """What constants beyond `LARGEST_ROOT` are in or may be carried to, without a bound in between."""
    found = {value for value in graph.initializers.values() if _is_huge(value.const_value)}
    for node in graph:
        if node.op_type == "Constant":
            if _is_huge(node.attributes["value"].as_tensor() if "value" in node.attributes else None):
                found.update(node.outputs)
        elif node.op_type in CARRIERS and not found.isdisjoint(node.inputs):
            found.update(node.outputs)
    return found


def _is_huge(tensor: ir.TensorProtocol | None) -> bool:
    if tensor is None or tensor.nbytes > SMALL or not tensor.size or not tensor.dtype.is_floating_point():
        return False
    return not bool((np.abs(tensor.numpy().astype(np.float32)) <= LARGEST_ROOT).all())
