"""What is the same for every input is computed once, where that is exact and the model does not grow."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.rewrites.edits import Editor, named
from pipeline.precision.rewrites.shape_values import evaluate

LIMIT = 1 << 16
"""Largest operand or result in bytes. Weights are above it: they stay as they are, on disk."""

# fmt: off
MOVES = frozenset({
    "Cast", "Concat", "ConstantOfShape", "Expand", "Flatten", "Gather", "GatherElements", "GatherND",
    "Identity", "Range", "Reshape", "ScatterND", "Shape", "Size", "Slice", "Split", "Squeeze", "Tile",
    "Transpose", "Trilu", "Unsqueeze", "Where",
})
# fmt: on
# fmt: off
COMPARES = frozenset({
    "And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not", "Or",
    "Xor",
})
# fmt: on
# fmt: off
ROUNDS_CORRECTLY = frozenset({
    "Abs", "Add", "Ceil", "Div", "Floor", "Max", "Min", "Mod", "Mul", "Neg", "Reciprocal", "Relu", "Sign",
    "Sqrt", "Sub",
})
# fmt: on
"""IEEE 754 fixes their results bit for bit, so that NumPy's are ONNX Runtime's and PyTorch's."""

FOLDABLE = MOVES | COMPARES | ROUNDS_CORRECTLY


def fold_constants(model: ir.Model) -> tuple[Fate, ...]:
    """Replace constant expressions of the main graph by initializers of the same names, in place.

    Shape arithmetic that comes to numbers is folded also where the tensor itself is an input.
    """
    editor = Editor(model)
    for node in list(model.graph):
        if node.graph is None or any(value.is_graph_output() for value in node.outputs):
            continue
        arrays = _from_sizes(node) or _from_operands(node, editor.opset)
        if arrays is not None:
            _replace(editor, node, arrays)
    return editor.fates


def _replace(editor: Editor, node: ir.Node, arrays: list[npt.NDArray[np.generic]]) -> None:
    for old, array in zip(node.outputs, arrays, strict=True):
        new = editor.constant(f"{named(old)}::folded", array)
        name = named(old)
        old.replace_all_uses_with(new)
        old.name = None
        editor.rename_initializer(new, name)
    inputs = [value for value in node.inputs if value is not None]
    editor.graph.remove(node, safe=True)
    for value in inputs:
        editor.sweep(value.producer(), "folded into a constant")


def _from_sizes(node: ir.Node) -> list[npt.NDArray[np.generic]] | None:
    value = node.outputs[0]
    if len(node.outputs) != 1 or value.dtype not in (ir.DataType.INT64, ir.DataType.INT32) or value.shape is None:
        return None
    numbers = evaluate(value)
    if numbers is None or not value.shape.is_static() or not all(isinstance(number, int) for number in numbers):
        return None
    array = np.array(numbers, dtype=value.dtype.numpy())
    return [array.reshape(value.shape.numpy())] if array.size == np.prod(value.shape.numpy()) else None


def _from_operands(node: ir.Node, opset: int) -> list[npt.NDArray[np.generic]] | None:
    if node.domain not in ("", "ai.onnx") or node.op_type not in FOLDABLE or not all(map(_is_small, node.inputs)):
        return None
    if any(value.dtype is None for value in node.outputs) or not _fits(node):
        return None
    arrays = [np.asarray(array) for array in _run(node, opset)]
    if any(array.nbytes > LIMIT for array in arrays):
        return None
    return [array.astype(value.dtype.numpy()) for array, value in zip(arrays, node.outputs, strict=True) if value.dtype]


def _is_small(value: ir.Value | None) -> bool:
    if value is None:
        return True
    tensor = value.const_value if value.is_initializer() and not value.is_graph_input() else None
    return tensor is not None and tensor.nbytes <= LIMIT and tensor.dtype in _NUMPY


def _fits(node: ir.Node) -> bool:
    """Whether the result is known to be small before it is computed."""
    value = node.outputs[0]
    if value.shape is not None and value.shape.is_static() and value.dtype is not None:
        return int(np.prod(value.shape.numpy(), dtype=np.int64)) * value.dtype.itemsize <= LIMIT
    return node.op_type not in {"ConstantOfShape", "Expand", "Range", "Tile"}


def _run(node: ir.Node, opset: int) -> list[npt.NDArray[np.generic]]:
    import onnx
    from onnx.reference import ReferenceEvaluator

    operands = {named(v): v.const_value.numpy() for v in node.inputs if v is not None and v.const_value is not None}
    inputs = [
        onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in operands.items()
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(named(value)) for value in node.outputs]
    graph = onnx.helper.make_graph([ir.to_proto(node)], "fold", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    with np.errstate(all="ignore"):
        return list(ReferenceEvaluator(model).run(None, operands))


_NUMPY = frozenset(
    {
        ir.DataType.FLOAT,
        ir.DataType.DOUBLE,
        ir.DataType.FLOAT16,
        ir.DataType.INT64,
        ir.DataType.INT32,
        ir.DataType.INT16,
        ir.DataType.INT8,
        ir.DataType.UINT8,
        ir.DataType.BOOL,
    }
)
