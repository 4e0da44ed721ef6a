"""How much each node has to do: elements of every float tensor and multiply-adds of every product, at given sizes."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

Shape = tuple[int | None, ...]

_ARITHMETIC: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv,
}


def shapes(model: ir.Model, sizes: Mapping[str, int]) -> dict[ir.Value, Shape]:
    """Shapes of the tensors of the main graph where its dynamic axes have the given sizes.

    ONNX's inference is asked again with these sizes, since it can follow a number through a `Shape` where it loses a
    name; `model` is left as it was.

    Args:
        model: A typed graph.
        sizes: Size of each dynamic axis by name. An axis that is not named has the size 1.

    Returns:
        A shape for each value whose rank is known; a dimension that cannot be followed is None.
    """
    made = [value for node in model.graph for value in node.outputs]
    kept = {value: value.shape for value in (*model.graph.inputs, *made)}
    named = {value: _sized(shape, sizes) for value, shape in kept.items() if shape is not None}
    try:
        for value in kept:
            value.shape = None
        for value in model.graph.inputs:
            if value in named:
                value.shape = ir.Shape([size or 1 for size in named[value]])
        ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
        found = {value: _merged(named.get(value), value.shape) for value in kept}
    finally:
        for value, shape in kept.items():
            value.shape = shape
    stored = model.graph.initializers.values()
    weights = {value: _sized(value.shape, sizes) for value in stored if value.shape is not None}
    return weights | {value: shape for value, shape in found.items() if shape is not None}


def elements(shape: Shape | None) -> int | None:
    """Number of elements, or None where that is not known."""
    if shape is None or any(size is None for size in shape):
        return None
    return math.prod(size for size in shape if size is not None)


def multiply_adds(node: ir.Node, known: Mapping[ir.Value, Shape]) -> int | None:
    """Multiplications of a product (MatMul, Gemm, Conv, ConvTranspose, Einsum), or None where a size is not known."""
    operands = [known.get(value) for value in node.inputs[:2] if value is not None]
    results = elements(known.get(node.outputs[0]))
    if len(operands) < 2 or operands[0] is None or operands[1] is None:
        return None
    if node.op_type in ("Conv", "DeformConv"):
        return _times(results, elements(operands[1][1:]))
    if node.op_type == "ConvTranspose":
        return _times(elements(operands[0]), elements(operands[1][1:]))
    if node.op_type == "Einsum":
        return _einsum(node, operands)
    transposed = node.op_type == "Gemm" and bool(node.attributes.get_int("transA"))
    return _times(results, operands[0][0] if transposed else operands[0][-1]) if operands[0] else None


def _einsum(node: ir.Node, operands: list[Shape | None]) -> int | None:
    """Product of the sizes of all letters; an ellipsis is not followed."""
    terms = node.attributes.get_string("equation", "").replace(" ", "").split("->")[0].split(",")
    sizes: dict[str, int | None] = {}
    for term, shape in zip(terms, operands, strict=True):
        if "." in term or shape is None or len(term) != len(shape):
            return None
        sizes |= dict(zip(term, shape, strict=True))
    return elements(tuple(sizes.values()))


def _times(left: int | None, right: int | None) -> int | None:
    return None if left is None or right is None else left * right


def _sized(shape: ir.Shape, sizes: Mapping[str, int]) -> Shape:
    return tuple(_size(dim, sizes) for dim in shape)


def _size(dim: int | ir.SymbolicDim, sizes: Mapping[str, int]) -> int | None:
    if isinstance(dim, int):
        return dim
    if dim.value is None or dim.value.startswith("unk__"):
        return None
    try:
        return _evaluate(ast.parse(dim.value, mode="eval").body, sizes)
    except SyntaxError:
        return None


def _evaluate(expression: ast.expr, sizes: Mapping[str, int]) -> int | None:
    """The value of `2*batch + 1`; None for what is no arithmetic on sizes."""
    match expression:
        case ast.Constant(value=int(number)):
            return number
        case ast.Name(id=name):
            return sizes.get(name, 1)
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in _ARITHMETIC:
            a, b = _evaluate(left, sizes), _evaluate(right, sizes)
            return None if a is None or b is None else _ARITHMETIC[type(sign)](a, b)
    return None


def _merged(named: Shape | None, inferred: ir.Shape | None) -> Shape | None:
    found = None if inferred is None else tuple(dim if isinstance(dim, int) else None for dim in inferred)
    if named is None or found is None or len(named) != len(found):
        return named if found is None else found
    return tuple(b if a is None else a for a, b in zip(named, found, strict=True))
