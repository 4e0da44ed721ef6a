"""Attention cores: a Softmax between two matrix products, which TensorRT fuses into one kernel."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from pipeline.precision import semantics
from pipeline.precision.semantics import Movement

PRODUCTS = frozenset({"MatMul", "Einsum", "Gemm"})

_CARRIERS = frozenset(
    {"Cast", "Dropout", "Expand", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze", "Where"}
)
"""What may stand between a Softmax and its product with V: it moves the probabilities, or guards them."""

_NOT_POINTWISE = frozenset({"Range", "Resize", "Upsample", "GridSample", "AffineGrid", "DFT", "STFT", "Det"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """One attention.

    Attributes:
        scores: The product Q.K^T.
        between: Nodes from `scores` to `softmax`, in graph order: scale, mask.
        softmax: The Softmax.
        after: Nodes from `softmax` to `values`, in graph order.
        values: The product P.V.
    """

    scores: ir.Node
    between: tuple[ir.Node, ...]
    softmax: ir.Node
    after: tuple[ir.Node, ...]
    values: ir.Node


def cores(graph: ir.Graph) -> tuple[Core, ...]:
    """Attention cores of the main graph, in graph order."""
    found = (_core(node) for node in graph if node.op_type == "Softmax")
    return tuple(core for core in found if core is not None)


def score_path(softmax: ir.Node) -> tuple[ir.Node | None, tuple[ir.Node, ...]]:
    """The product whose result a Softmax normalises, and the elementwise nodes between them.

    Climbs only through values that nothing else reads, so that a residual stream is never mistaken for a score.
    """
    path: list[ir.Node] = []
    product = _climb(softmax.inputs[0], path)
    return product, tuple(reversed(path))


def is_elementwise(node: ir.Node) -> bool:
    """Whether `node` moves data or computes each element by itself."""
    row = semantics.TABLE.get(node.op_type)
    if row is None or node.domain not in ("", "ai.onnx") or row.op in _NOT_POINTWISE:
        return False
    return row.movement is Movement.EXACT or (row.movement is Movement.ROUNDED and not row.sums)


def _core(softmax: ir.Node) -> Core | None:
    scores, between = score_path(softmax)
    after: list[ir.Node] = []
    values = _descend(softmax.outputs[0], after)
    if scores is None or values is None or not (_of_activations(scores) and _of_activations(values)):
        return None
    return Core(scores=scores, between=between, softmax=softmax, after=tuple(after), values=values)


def _climb(value: ir.Value | None, path: list[ir.Node]) -> ir.Node | None:
    """The product above `value`; nodes passed on the way are appended to `path`."""
    node = value.producer() if value is not None and len(value.uses()) == 1 else None
    if node is None:
        return None
    if node.op_type in PRODUCTS:
        return node
    if not is_elementwise(node):
        return None
    mark = len(path)
    path.append(node)
    for operand in node.inputs:
        if (product := _climb(operand, path)) is not None:
            return product
    del path[mark:]
    return None


def _descend(value: ir.Value, path: list[ir.Node]) -> ir.Node | None:
    """The product below `value` that reads it, directly or through carriers."""
    for node, _ in value.uses():
        if node.op_type in PRODUCTS and node.inputs[0] is value:
            return node
    for node, _ in value.uses():
        if node.op_type in _CARRIERS:
            path.append(node)
            if (product := _descend(node.outputs[0], path)) is not None:
                return product
            path.pop()
    return None


def _of_activations(product: ir.Node) -> bool:
    """Whether no operand is a weight."""
    return all(value is not None and not value.is_initializer() for value in product.inputs)
