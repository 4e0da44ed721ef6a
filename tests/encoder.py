"""One encoder block with attention and a LayerNorm, small enough to read and build: in fp32, and mixed by decisions."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx.shape_inference
import onnx_ir as ir

from pipeline.core.artifacts import Decision, PrecisionPlan
from pipeline.core.formats import Format
from pipeline.core.spec import AxisRange, InputSpec

WIDTH = 64

HEAD = '<ir_version: 10, opset_import: ["" : 20]>'

FP32 = f"""{HEAD}
encoder (float[batch, sequence, {WIDTH}] x, float[batch, 1, 1, sequence] mask) => (float[batch, sequence, {WIDTH}] y) {{
    [query] q = MatMul(x, wq)
    [key] k = MatMul(x, wk)
    [value] v = MatMul(x, wv)
    [query_heads] q4 = Reshape(q, heads)
    [key_heads] k4 = Reshape(k, heads)
    [value_heads] v4 = Reshape(v, heads)
    [query_first] qt = Transpose<perm = [0, 2, 1, 3]>(q4)
    [key_last] kt = Transpose<perm = [0, 2, 3, 1]>(k4)
    [value_first] vt = Transpose<perm = [0, 2, 1, 3]>(v4)
    [scores] s = MatMul(qt, kt)
    [scale] ss = Mul(s, quarter)
    [masked] sm = Add(ss, mask)
    [softmax] p = Softmax<axis = -1>(sm)
    [context] c4 = MatMul(p, vt)
    [context_last] ct = Transpose<perm = [0, 2, 1, 3]>(c4)
    [context_merged] c = Reshape(ct, merged)
    [output] o = MatMul(c, wo)
    [residual] r = Add(o, x)
    [norm] y = LayerNormalization<axis = -1, epsilon = 1e-5>(r, gain, shift)
}}
"""

MIXED = f"""{HEAD}
encoder (float[batch, sequence, {WIDTH}] x, float[batch, 1, 1, sequence] mask) => (float[batch, sequence, {WIDTH}] y) {{
    ["cast::x::fp16"] "x::fp16" = Cast<to = 10>(x)
    ["cast::mask::fp16"] "mask::fp16" = Cast<to = 10>(mask)
    [query] q = MatMul("x::fp16", wq)
    [key] k = MatMul("x::fp16", wk)
    [value] v = MatMul("x::fp16", wv)
    [query_heads] q4 = Reshape(q, heads)
    [key_heads] k4 = Reshape(k, heads)
    [value_heads] v4 = Reshape(v, heads)
    [query_first] qt = Transpose<perm = [0, 2, 1, 3]>(q4)
    [key_last] kt = Transpose<perm = [0, 2, 3, 1]>(k4)
    [value_first] vt = Transpose<perm = [0, 2, 1, 3]>(v4)
    [scores] s = MatMul(qt, kt)
    [scale] ss = Mul(s, quarter)
    [masked] sm = Add(ss, "mask::fp16")
    ["cast::sm::fp32"] "sm::fp32" = Cast<to = 1>(sm)
    [softmax] "p::raw" = Softmax<axis = -1>("sm::fp32")
    ["cast::p"] p = Cast<to = 10>("p::raw")
    [context] c4 = MatMul(p, vt)
    [context_last] ct = Transpose<perm = [0, 2, 1, 3]>(c4)
    [context_merged] c = Reshape(ct, merged)
    ["cast::c::fp32"] "c::fp32" = Cast<to = 1>(c)
    ["cast::wo::fp32"] "wo::fp32" = Cast<to = 1>(wo)
    [output] "o::raw" = MatMul("c::fp32", "wo::fp32")
    ["cast::o"] o = Cast<to = 10>("o::raw")
    [residual] r = Add(o, "x::fp16")
    ["cast::r::fp32"] "r::fp32" = Cast<to = 1>(r)
    [norm] y = LayerNormalization<axis = -1, epsilon = 1e-5>("r::fp32", gain, shift)
}}
"""

INPUTS = {
    "x": InputSpec(dtype="float32", axes=("batch", "sequence", WIDTH)),
    "mask": InputSpec(dtype="float32", axes=("batch", 1, 1, "sequence")),
}
AXES = {"batch": AxisRange(min=1, opt=2, max=4), "sequence": AxisRange(min=8, opt=16, max=32)}

_LOW, _HIGH = Format.FP16, Format.FP32


def fp32() -> ir.Model:
    return parse(FP32, _weights(np.float32))


def mixed(text: str = MIXED) -> ir.Model:
    return parse(text, _weights(np.float16))


def plan() -> PrecisionPlan:
    """The decisions that `MIXED` carries out."""
    nodes = list(fp32().graph)
    return PrecisionPlan(
        model="", policy="by hand", low=_LOW, decisions=tuple(_decision(str(node.name), node.op_type) for node in nodes)
    )


def parse(text: str, weights: dict[str, np.ndarray] | None = None) -> ir.Model:
    """A graph from ONNX text, with weights by name, every tensor typed."""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in (weights or {}).items())
    return _read(onnx.shape_inference.infer_shapes(model, strict_mode=True))


def unchecked(text: str) -> ir.Model:
    """The mixed graph from another text, its types not inferred."""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(onnx.numpy_helper.from_array(a, name) for name, a in _weights(np.float16).items())
    return _read(model)


def _read(model: onnx.ModelProto) -> ir.Model:
    read: ir.Model = ir.from_proto(model)
    return read


def _decision(node: str, op: str) -> Decision:
    operands, accumulator, result = _LOW, None, _LOW
    if node == "softmax":
        operands = _HIGH
    elif node == "output":
        accumulator = _HIGH
    elif node == "norm":
        operands, result = _HIGH, _HIGH
    return Decision(
        node=node,
        op=op,
        module="",
        operands=operands,
        accumulator=accumulator,
        result=result,
        rule="by hand",
        reason="test",
    )


def _weights(low: type[np.floating]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    named = {name: random.normal(0, 0.1, (WIDTH, WIDTH)).astype(low) for name in ("wq", "wk", "wv", "wo")}
    return {
        **named,
        "quarter": np.array(0.25, low),
        "gain": np.ones(WIDTH, np.float32),
        "shift": np.zeros(WIDTH, np.float32),
        "heads": np.array([0, 0, 4, WIDTH // 4], np.int64),
        "merged": np.array([0, 0, WIDTH], np.int64),
    }


def random(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.1, shape).astype(np.float32)


def sizes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)
