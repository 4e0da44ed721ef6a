"""A product whose accumulator is low: exact within a block of the summed axis, rounded after each block."""

from __future__ import annotations

import onnx_ir as ir

BLOCK = 16
"""Products summed exactly before the sum is rounded: the depth of one fp16 tensor-core instruction (m16n8k16)."""

BLOCKS = """
Blocks (a, b) => (total) {{
    depth = Constant <value_ints = [-1, 16]> ()
    last = Constant <value_int = -1> ()
    k = Shape <start = -2, end = -1> (b)
    block = Constant <value_ints = [16]> ()
    short = Mod(k, block)
    gap = Sub(block, short)
    missing = Mod(gap, block)
    none = Constant <value_ints = [0]> ()
    axis_k_of_a = Constant <value_ints = [-1]> ()
    axis_k_of_b = Constant <value_ints = [-2]> ()
    pads = Concat <axis = 0> (none, missing)
    a_padded = Pad(a, pads, , axis_k_of_a)
    b_padded = Pad(b, pads, , axis_k_of_b)
    a_lead = Shape <end = -1> (a)
    a_shape = Concat <axis = 0> (a_lead, depth)
    a_blocks = Reshape(a_padded, a_shape)
    n = Shape <start = -1> (b)
    b_shape = Concat <axis = 0> (depth, n)
    b_blocks = Reshape(b_padded, b_shape)
    row_shape = Concat <axis = 0> (a_lead, n)
    start = ConstantOfShape <value = float[1] {{0.0}}> (row_shape)
    total, rest = Scan <num_scan_inputs = 2, scan_input_axes = [-2, 0], body = step
        (float[] sum, float[] left, float[] right) => (float[] next, float[] seen) {{
        part = MatMul(left, right)
        wider = Add(sum, part)
        bits = Cast <to = {low}> (wider)
        next = Cast <to = 1> (bits)
        none_left = Constant <value_ints = [0]> ()
        seen = Cast <to = 1> (none_left)
    }}> (start, a_blocks, b_blocks)
}}
"""


def sums_in_blocks(node: ir.Node) -> bool:
    """Whether `node` is a MatMul of fp16 by a stored matrix, whose accumulator TensorRT may choose.

    Products of bf16 have no choice: the tensor cores sum them in fp32 (PTX ISA, `mma` with `.bf16` operands).
    """
    if node.op_type != "MatMul" or node.outputs[0].dtype is not ir.DataType.FLOAT16:
        return False
    weight = node.inputs[1]
    return weight is not None and _is_stored(weight) and weight.shape is not None and len(weight.shape) == 2


def _is_stored(value: ir.Value) -> bool:
    producer = value.producer()
    if producer is not None and producer.op_type in ("Transpose", "Cast", "Identity", "Reshape"):
        source = producer.inputs[0]
        return source is not None and _is_stored(source)
    return value.is_initializer()
