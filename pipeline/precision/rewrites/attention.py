"""Attention in the one form whose fused kernel TensorRT keeps under mixed precision (FACTS 15 to 18).

The form is `Softmax(MatMul(Q, K^T) * scale + mask) V` with K^T as one Transpose of K: scale and mask stand between the
first MatMul and the Softmax, where they can be fp32 between the two Casts, and nothing stands between Softmax and the
second MatMul but the Cast back. How rows without a valid key are kept is told in `softmax_guards`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.rewrites.edits import Editor, named, producer, scalar, sole_reader
from pipeline.precision.rewrites.shape_values import evaluate, sizes

BETWEEN = frozenset({"Add", "Mul", "Div", "Sub", "Where", "Max", "Min", "Cast", "Clip", "Tanh"})
"""What may stand between QK^T and the Softmax: scale, mask, and a soft cap on the scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCore:
    """The two MatMuls of one attention and the Softmax between them.

    Attributes:
        scores: MatMul of Q and K^T.
        softmax: Softmax over the last axis.
        mixed: MatMul of the probabilities and V.
    """

    scores: ir.Node
    softmax: ir.Node
    mixed: ir.Node


def attention_cores(graph: ir.Graph) -> Iterator[AttentionCore]:
    """Every Softmax over the last axis that stands between two MatMuls, in graph order."""
    for node in list(graph):
        if node.op_type == "Softmax" and node.graph is not None and over_last_axis(node):
            scores, mixed = _scores(node.inputs[0]), _mixed(node.outputs[0])
            if scores is not None and mixed is not None:
                yield AttentionCore(scores=scores, softmax=node, mixed=mixed)


def over_last_axis(softmax: ir.Node) -> bool:
    """Whether a Softmax (operator set 13 or later) works on the last axis."""
    axis = softmax.attributes.get("axis")
    value = softmax.inputs[0]
    if axis is None or axis.as_int() == -1:
        return True
    return value is not None and value.shape is not None and axis.as_int() == len(value.shape) - 1


def scale_after_scores(model: ir.Model) -> tuple[Fate, ...]:
    """Move constant factors of Q and of K behind QK^T, as one Mul, in place.

    Equal but for rounding: two rounded products fewer in fp16, and the scale is applied in the Softmax's fp32.
    """
    editor = Editor(model)
    for core in attention_cores(model.graph):
        _move_scale(editor, core.scores)
    return editor.fates


def transpose_key_once(model: ir.Model) -> tuple[Fate, ...]:
    """Replace, in place, Reshape, Transpose, Reshape on K (torch's export of SDPA) by the Transpose that they are."""
    editor = Editor(model)
    for node in list(model.graph):
        key = _round_trip(node) if node.op_type == "Reshape" and node.graph is not None else None
        if key is not None:
            _transpose(editor, node, key)
    return editor.fates


def _move_scale(editor: Editor, scores: ir.Node) -> None:
    factors: list[float] = []
    for position in (0, 1):
        factored = _factor(scores.inputs[position])
        if factored is not None:
            node, source, factor = factored
            scores.replace_input_with(position, source)
            editor.sweep(node, f"its factor is applied behind {scores.name}")
            factors.append(factor)
    if not factors:
        return
    result = scores.outputs[0]
    name = named(result)
    scale = editor.constant(f"{name}::scale", np.array(np.prod(factors), dtype=np.float32))
    scaled = editor.node(
        "Mul",
        [result, scale],
        beside=scores,
        output=f"{name}::scaled",
        dtype=result.dtype,
        shape=result.shape,
        after=True,
    )
    editor.wrap(result, scaled, "unscaled")


def _factor(value: ir.Value | None) -> tuple[ir.Node, ir.Value, float] | None:
    """(node, operand, factor) where `value` is an operand times a constant number and has no other reader."""
    node = producer(value, "Mul", "Div")
    if node is None or value is None or sole_reader(value) is None or value.dtype != ir.DataType.FLOAT:
        return None
    left, right = node.inputs
    if left is None or right is None:
        return None
    number = scalar(right)
    if number is not None and _same_rank(left, value):
        return None if number == 0.0 else (node, left, number if node.op_type == "Mul" else 1.0 / number)
    number = scalar(left) if node.op_type == "Mul" else None
    return (node, right, number) if number and _same_rank(right, value) else None


def _same_rank(operand: ir.Value, result: ir.Value) -> bool:
    return operand.shape is not None and result.shape is not None and len(operand.shape) == len(result.shape)


def _round_trip(last: ir.Node) -> ir.Value | None:
    """K, where `last` ends Reshape(K, [-1, S, D]), Transpose(0, 2, 1), Reshape([..., D, S])."""
    turn = producer(last.inputs[0], "Transpose")
    first = None if turn is None else producer(turn.inputs[0], "Reshape")
    if turn is None or first is None or first.inputs[0] is None:
        return None
    permutation = turn.attributes.get("perm")
    key = first.inputs[0]
    have, flat, final = sizes(key), evaluate(first.inputs[1]), evaluate(last.inputs[1])
    if permutation is None or list(permutation.as_ints()) != [0, 2, 1] or have is None or len(have) < 3:
        return None
    *outer, rows, columns = have
    return key if flat == (-1, rows, columns) and final == (*outer, columns, rows) else None


def _transpose(editor: Editor, last: ir.Node, key: ir.Value) -> None:
    if key.shape is None:
        return
    result, rank = last.outputs[0], len(key.shape)
    axes = [*range(rank - 2), rank - 1, rank - 2]
    shape = ir.Shape([key.shape[axis] for axis in axes])
    new = editor.node(
        "Transpose",
        [key],
        beside=last,
        output=f"{named(result)}::once",
        dtype=key.dtype,
        shape=shape,
        attributes={"perm": axes},
    )
    editor.supersede(result, new)
    editor.sweep(last, f"{named(new)} is one Transpose of {named(key)}")


def _scores(value: ir.Value | None) -> ir.Node | None:
    """The one MatMul of two computed operands that is reached backwards from the Softmax through scale and mask."""
    found = None
    for _ in range(8):
        node = producer(value)
        if node is None or node.op_type == "MatMul":
            return node
        if node.op_type not in BETWEEN:
            return found
        value = _data_operand(node)
    return found


def _data_operand(node: ir.Node) -> ir.Value | None:
    """The operand of `node` that leads back to a MatMul: the first that is no constant and not a bare mask."""
    for operand in node.inputs:
        if operand is not None and _leads_to_matmul(operand, depth=8):
            return operand
    return None


def _leads_to_matmul(value: ir.Value, *, depth: int) -> bool:
    node = producer(value)
    if node is None or depth == 0:
        return False
    if node.op_type == "MatMul":
        return not any(operand is not None and operand.is_initializer() for operand in node.inputs)
    return node.op_type in BETWEEN and any(
        operand is not None and _leads_to_matmul(operand, depth=depth - 1) for operand in node.inputs
    )


def _mixed(value: ir.Value) -> ir.Node | None:
    """The MatMul whose left operand the probabilities are, directly or through a guard or Dropout."""
    for use in value.uses():
        node = use.node
        if node.op_type == "MatMul" and use.idx == 0:
            return node
        if node.op_type in ("Where", "Dropout", "Identity", "Cast"):
            found = _mixed(node.outputs[0])
            if found is not None:
                return found
    return None
