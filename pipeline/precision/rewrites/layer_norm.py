"""A decomposed layer normalisation becomes the LayerNormalization operator.

TensorRT keeps the statistics of the operator in fp32; of the decomposed form it rounds the squares (FACTS 18).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.rewrites.edits import Editor, integers, named, producer, scalar, sole_reader

OPSET = 17
"""The first operator set that has LayerNormalization."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposed:
    """One decomposed layer normalisation over the trailing axes of `source`.

    Attributes:
        source: What is normalised.
        result: What it computes: normalised, and scaled and shifted where `scale` and `bias` are given.
        axis: First normalised axis, negative.
        epsilon: Added to the variance.
        scale: Constant of the normalised shape, or None for ones.
        bias: Constant of the normalised shape, or None for zeros.
    """

    source: ir.Value
    result: ir.Value
    axis: int
    epsilon: float
    scale: ir.Value | None
    bias: ir.Value | None


def restore_layer_norms(model: ir.Model) -> tuple[Fate, ...]:
    """Replace, in place, x -> (x - mean) / sqrt(mean((x - mean)^2) + eps) * scale + bias by LayerNormalization.

    Only where it is exactly that function: mean and variance over the same static trailing axes, and scale and bias
    constants of the normalised shape. Both may be absent. Needs operator set 17.
    """
    editor = Editor(model)
    if editor.opset >= OPSET:
        for node in list(model.graph):
            match = _match(node) if node.graph is not None else None
            if match is not None:
                _replace(editor, match)
    return editor.fates


def _replace(editor: Editor, match: Decomposed) -> None:
    last = match.result.producer()
    if last is None or match.source.shape is None:
        return
    name = named(match.result)
    shape = tuple(dim for dim in match.source.shape[match.axis :] if isinstance(dim, int))
    scale = match.scale or editor.constant(f"{name}::scale", np.ones(shape, np.float32))
    new = editor.node(
        "LayerNormalization",
        [scale_input for scale_input in (match.source, scale, match.bias) if scale_input is not None],
        beside=last,
        output=f"{name}::restored",
        dtype=match.result.dtype,
        shape=match.result.shape,
        attributes={"axis": match.axis, "epsilon": match.epsilon, "stash_type": 1},
    )
    editor.supersede(match.result, new)
    editor.sweep(last, f"inside the LayerNormalization that computes {name}")


def _match(node: ir.Node) -> Decomposed | None:
    """The normalisation whose division (or product with the reciprocal root) is `node`."""
    parts = _centred_and_root(node)
    if parts is None:
        return None
    centred, root = parts
    subtraction, addition = producer(centred, "Sub"), producer(root.inputs[0], "Add")
    if subtraction is None or addition is None or subtraction.inputs[0] is None:
        return None
    source = subtraction.inputs[0]
    variance, epsilon = _one_scalar(addition)
    if variance is None or epsilon is None or source.dtype != ir.DataType.FLOAT:
        return None
    axes = _mean_axes(subtraction.inputs[1], of=source)
    if axes is None or axes != _mean_axes(variance, of=None) or not _is_square(variance, centred, source):
        return None
    axis = _trailing(axes, source)
    return None if axis is None else _with_affine(node.outputs[0], source, axis, epsilon)


def _centred_and_root(node: ir.Node) -> tuple[ir.Value, ir.Node] | None:
    """The centred value and the Sqrt of `centred / sqrt(...)` or `centred * (1 / sqrt(...))`."""
    if node.op_type == "Div" and node.inputs[0] is not None:
        root = producer(node.inputs[1], "Sqrt")
        return None if root is None else (node.inputs[0], root)
    if node.op_type == "Mul":
        for centred, inverse in (tuple(node.inputs), tuple(reversed(node.inputs))):
            root = _reciprocal_root(inverse)
            if centred is not None and root is not None:
                return centred, root
    return None


def _reciprocal_root(value: ir.Value | None) -> ir.Node | None:
    node = producer(value, "Reciprocal", "Div")
    if node is None or (node.op_type == "Div" and scalar(node.inputs[0]) != 1.0):
        return None
    return producer(node.inputs[-1], "Sqrt")


def _one_scalar(node: ir.Node) -> tuple[ir.Value | None, float | None]:
    left, right = node.inputs
    number = scalar(right)
    return (left, number) if number is not None else (right, scalar(left))


def _mean_axes(value: ir.Value | None, *, of: ir.Value | None) -> tuple[int, ...] | None:
    """Axes over which `value` is the mean (of `of`, where given), dimensions kept."""
    node = producer(value, "ReduceMean")
    if node is None or (of is not None and node.inputs[0] is not of):
        return None
    keep = node.attributes.get("keepdims")
    if keep is not None and keep.as_int() != 1:
        return None
    if "axes" in node.attributes:
        return tuple(node.attributes["axes"].as_ints())
    return integers(node.inputs[1]) if len(node.inputs) > 1 else None


def _is_square(variance: ir.Value, centred: ir.Value, source: ir.Value) -> bool:
    """Whether the mean `variance` is that of the square of `centred` (or of a twin that an exporter wrote)."""
    mean = producer(variance, "ReduceMean")
    square = None if mean is None else producer(mean.inputs[0], "Pow", "Mul")
    if square is None or square.inputs[0] is None:
        return False
    base, other = square.inputs
    twice = scalar(other) == 2.0 if square.op_type == "Pow" else other is base
    return twice and (base is centred or _is_centred_twin(base, centred, source))


def _is_centred_twin(value: ir.Value | None, centred: ir.Value, source: ir.Value) -> bool:
    node, known = producer(value, "Sub"), centred.producer()
    if node is None or known is None or node.inputs[0] is not source:
        return False
    axes = _mean_axes(node.inputs[1], of=source)
    return axes is not None and axes == _mean_axes(known.inputs[1], of=source)


def _trailing(axes: tuple[int, ...], source: ir.Value) -> int | None:
    """The first of `axes`, negative, if they are the last axes of `source` and their sizes are numbers."""
    if source.shape is None:
        return None
    rank = len(source.shape)
    normal = sorted(axis - rank if axis >= 0 else axis for axis in axes)
    if normal != list(range(-len(normal), 0)) or len(normal) > rank:
        return None
    return normal[0] if all(isinstance(dim, int) for dim in source.shape[normal[0] :]) else None


def _with_affine(plain: ir.Value, source: ir.Value, axis: int, epsilon: float) -> Decomposed:
    result, scale, bias = plain, None, None
    product = sole_reader(result, "Mul")
    factor = None if product is None else _weight(product, result, source, axis)
    if product is not None and factor is not None:
        result, scale = product.outputs[0], factor
    total = sole_reader(result, "Add")
    shift = None if total is None else _weight(total, result, source, axis)
    if total is not None and shift is not None:
        result, bias = total.outputs[0], shift
    return Decomposed(source=source, result=result, axis=axis, epsilon=epsilon, scale=scale, bias=bias)


def _weight(node: ir.Node, value: ir.Value, source: ir.Value, axis: int) -> ir.Value | None:
    """The other operand of `node`, if it is a constant of exactly the normalised shape."""
    others = [operand for operand in node.inputs if operand is not value]
    if len(others) != 1 or others[0] is None or source.shape is None:
        return None
    weight = others[0]
    if not weight.is_initializer() or weight.is_graph_input() or weight.shape is None:
        return None
    return weight if list(weight.shape) == list(source.shape[axis:]) and weight.dtype == source.dtype else None
