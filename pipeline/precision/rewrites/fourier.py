"""A Fourier transform of fixed length becomes a matrix product: TensorRT-RTX 1.7 has no DFT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.rewrites.edits import Editor, named

LONGEST = 2048
"""Points of a transform that is worth a matrix: a longer one would be tens of megabytes."""


def multiply_by_sinusoids(model: ir.Model) -> tuple[Fate, ...]:
    """Turn each DFT over the last axis of signals of a fixed length into Reshape, MatMul, Reshape, in place."""
    editor = Editor(model)
    for node in list(model.graph):
        if node.op_type == "DFT" and node.domain in ("", "ai.onnx"):
            _multiply(editor, node)
    return editor.fates


def _multiply(editor: Editor, node: ir.Node) -> None:
    signal, spectrum = node.inputs[0], node.outputs[0]
    if signal is None or signal.shape is None or signal.dtype is not ir.DataType.FLOAT:
        return
    sizes = [size for size in signal.shape[-2:] if isinstance(size, int)]
    if len(sizes) < 2 or sizes[0] > LONGEST or not _is_plain(node, sizes[0], len(signal.shape)):
        return
    points, parts = sizes
    matrix = sinusoids(points, parts, inverse=_flag(node, "inverse"), onesided=_flag(node, "onesided"))
    name, rows = named(spectrum), [0] * (len(signal.shape) - 2)
    leading = list(signal.shape[:-2])

    def step(op: str, inputs: list[ir.Value], suffix: str, tail: list[int]) -> ir.Value:
        shape = ir.Shape([*leading, *tail])
        return editor.node(op, inputs, beside=node, output=f"{name}::{suffix}", dtype=signal.dtype, shape=shape)

    flat = step("Reshape", [signal, _sizes(editor, name, [*rows, matrix.shape[0]])], "signal", [matrix.shape[0]])
    held = editor.constant(f"{name}::sinusoids", matrix)
    product = step("MatMul", [flat, held], "product", [matrix.shape[1]])
    pairs = [matrix.shape[1] // 2, 2]
    result = step("Reshape", [product, _sizes(editor, name, [*rows, *pairs])], "pairs", pairs)
    editor.supersede(spectrum, result)


def _sizes(editor: Editor, name: str, sizes: list[int]) -> ir.Value:
    return editor.constant(f"{name}::sizes", np.array(sizes, np.int64))


def _is_plain(node: ir.Node, points: int, rank: int) -> bool:
    """Whether it transforms the last axis of signals, as long as it is."""
    length, axis = _constant(node, 1, otherwise=points), _constant(node, 2, otherwise=-2)
    return "axis" not in node.attributes and length == points and axis in (-2, rank - 2)


def _constant(node: ir.Node, position: int, *, otherwise: int) -> int | None:
    """The number that is operand `position`, `otherwise` where there is none, None where it is computed."""
    operand = node.inputs[position] if position < len(node.inputs) else None
    if operand is None:
        return otherwise
    return None if operand.const_value is None else int(operand.const_value.numpy())


def _flag(node: ir.Node, name: str) -> bool:
    return bool(node.attributes.get_int(name, 0))


def sinusoids(points: int, parts: int, *, inverse: bool, onesided: bool) -> npt.NDArray[np.float32]:
    """The transform as a matrix.

    Args:
        points: Length of the signal.
        parts: 1 for a real signal, 2 for real and imaginary part by turns.
        inverse: Whether it is the inverse transform, divided by `points`.
        onesided: Whether only the first half of the spectrum, and the middle, is wanted.

    Returns:
        Shape (points * parts, frequencies * 2): real and imaginary part by turns in rows and columns.
    """
    frequencies = points // 2 + 1 if onesided else points
    turns = np.outer(np.arange(points), np.arange(frequencies)) % points / points
    angles = 2 * np.pi * turns * (1 if inverse else -1)
    cos, sin = np.cos(angles), np.sin(angles)
    blocks = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)], 1)[:, :parts]
    return (blocks.reshape(points * parts, frequencies * 2) / (points if inverse else 1)).astype(np.float32)
