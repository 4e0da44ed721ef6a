"""Attention in the one form whose fused kernel TensorRT keeps under mixed precision (FACTS 15 to 18).

The form is `Softmax(MatMul(Q, K^T) * scale + mask) V` with K^T as one Transpose of K: scale and mask stand between the
first MatMul and the Softmax, where they can be fp32 between the two Casts, and nothing stands between Softmax and the
second MatMul but the Cast back. How rows without a valid key are kept is told in `softmax_guards`.
"""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.attention import cores
from pipeline.precision.rewrites.edits import Editor, named, producer, scalar, sole_reader
from pipeline.precision.rewrites.shape_values import evaluate, sizes


def scale_after_scores(model: ir.Model) -> tuple[Fate, ...]:
    """Move constant factors of Q and of K behind QK^T, as one Mul, in place.

    Equal but for rounding: two rounded products fewer in fp16, and the scale is applied in the Softmax's fp32.
    """
    editor = Editor(model)
    for core in cores(model.graph):
        if core.scores.op_type == "MatMul":
            _move_scale(editor, core.scores)
    return editor.fates


def transpose_key_once(model: ir.Model) -> tuple[Fate, ...]:
    """Replace, in place, Reshape, Transpose, Reshape on K (torch's export of SDPA) by the Transpose that they are."""
    editor = Editor(model)
    for node in list(model.graph):
        key = round_trip(node)
        if key is not None:
            _transpose(editor, node, key)
    return editor.fates


def round_trip(node: ir.Node | None) -> ir.Value | None:
    """K, where `node` ends Reshape(K, [-1, S, D]), Transpose(0, 2, 1), Reshape([..., D, S])."""
    if node is None or node.op_type != "Reshape" or node.graph is None:
        return None
    turn = producer(node.inputs[0], "Transpose")
    first = None if turn is None else producer(turn.inputs[0], "Reshape")
    if turn is None or first is None or first.inputs[0] is None:
        return None
    permutation, key = turn.attributes.get("perm"), first.inputs[0]
    have, flat, final = sizes(key), evaluate(first.inputs[1]), evaluate(node.inputs[1])
    if permutation is None or list(permutation.as_ints()) != [0, 2, 1] or have is None or len(have) < 3:
        return None
    *outer, rows, columns = have
    return key if flat == (-1, rows, columns) and final == (*outer, columns, rows) else None


def factored(value: ir.Value | None) -> tuple[ir.Node, ir.Value, float] | None:
    """(node, operand, factor) where `value` is an fp32 operand times a nonzero number, and has no other reader."""
    node = producer(value, "Mul", "Div")
    if node is None or value is None or sole_reader(value) is None or value.dtype != ir.DataType.FLOAT:
        return None
    for operand, other in zip(node.inputs, reversed(node.inputs), strict=True):
        number = scalar(other)
        if operand is not None and number and _same_rank(operand, value):
            if node.op_type == "Mul":
                return node, operand, number
            return (node, operand, 1.0 / number) if other is node.inputs[1] else None
    return None


def _move_scale(editor: Editor, scores: ir.Node) -> None:
    factors: list[float] = []
    for position, operand in enumerate(scores.inputs):
        found = factored(operand)
        if found is not None:
            node, source, factor = found
            scores.replace_input_with(position, source)
            editor.sweep(node, f"its factor is applied behind {scores.name}")
            factors.append(factor)
    if not factors:
        return
    result = scores.outputs[0]
    name = named(result)
    scale = editor.constant(f"{name}::scale", np.array(math.prod(factors), dtype=np.float32))
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


def _same_rank(operand: ir.Value, result: ir.Value) -> bool:
    return operand.shape is not None and result.shape is not None and len(operand.shape) == len(result.shape)


def _transpose(editor: Editor, last: ir.Node, key: ir.Value) -> None:
    if key.shape is None:
        return
    result, rank = last.outputs[0], len(key.shape)
    axes = [*range(rank - 2), rank - 1, rank - 2]
    new = editor.node(
        "Transpose",
        [key],
        beside=last,
        output=f"{named(result)}::once",
        dtype=key.dtype,
        shape=ir.Shape([key.shape[axis] for axis in axes]),
        attributes={"perm": axes},
    )
    editor.supersede(result, new)
    editor.sweep(last, f"{named(new)} is one Transpose of {named(key)}")
