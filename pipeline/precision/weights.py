"""Stored weights in a low format: rounded once, when they are written."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from pipeline.core.formats import Format


def onnx_type(format_: Format) -> ir.DataType:
    """The ONNX element type that stores a format."""
    return ir.DataType[format_.limits.onnx]


def rounded(tensor: ir.TensorProtocol, format_: Format, name: str) -> ir.TensorProtocol:
    """`tensor` (fp32) in another format; nothing is read until the bytes are needed, and nothing is kept after.

    Rounds to nearest, ties to even. What is beyond the format becomes infinite, as a Cast would make it.
    """
    dtype, sizes = onnx_type(format_), tensor.shape.numpy()

    def compute() -> ir.TensorProtocol:
        with np.errstate(over="ignore"):
            values = tensor.numpy().astype(dtype.numpy())
        return ir.Tensor(values, dtype=dtype, shape=ir.Shape(sizes), name=name)

    return ir.LazyTensor(compute, dtype=dtype, shape=ir.Shape(sizes), name=name)
