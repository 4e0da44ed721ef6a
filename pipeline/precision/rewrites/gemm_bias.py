"""The bias of a Gemm becomes an Add of its own, as every other linear layer has it.

TensorRT-RTX 1.7 takes a product between Casts for one of low operands with an fp32 accumulator only where its result
goes straight into the Cast. A bias between the two makes it an fp32 product.
"""

from __future__ import annotations

import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.rewrites.edits import Editor, named


def split_gemm_bias(model: ir.Model) -> tuple[Fate, ...]:
    """Take the bias out of each Gemm that adds it unscaled, in place; every tensor keeps its name and value."""
    editor = Editor(model)
    for node in list(model.graph):
        if node.op_type == "Gemm" and len(node.inputs) == 3 and node.attributes.get_float("beta", 1.0) == 1.0:
            _split(editor, node)
    return editor.fates


def _split(editor: Editor, gemm: ir.Node) -> None:
    bias, product = gemm.inputs[2], gemm.outputs[0]
    if bias is None or product.dtype is not ir.DataType.FLOAT:
        return
    gemm.resize_inputs(2)
    total = editor.node(
        "Add",
        [product, bias],
        beside=gemm,
        output=f"{named(product)}::biased",
        dtype=product.dtype,
        shape=product.shape,
        after=True,
    )
    editor.wrap(product, total, "product")
