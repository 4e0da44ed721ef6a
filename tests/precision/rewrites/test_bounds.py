import numpy as np
import onnx_ir as ir
import pytest

from pipeline.graph.infer import infer
from pipeline.precision.rewrites.bounds import may_be_minus_infinity

CASES = {
    "y = Where (keep, zero, lowest)": False,
    "y = Where (keep, zero, inf)": True,
    "n = Not (keep) f = Cast <to = 1> (n) y = Mul (f, lowest)": False,
    "a = Where (keep, zero, lowest) y = Add (a, a)": True,
    "a = Where (keep, zero, inf) y = Max (a, lowest)": False,
    "a = Where (keep, zero, inf) b = Unsqueeze (a, axis) y = Expand (b, shape)": True,
    "y = Identity (bias)": True,
    "y = MatMul (square, square)": False,
    "y = Sub (zero, lowest)": False,
    "y = Neg (inf)": False,
}


@pytest.mark.parametrize(("body", "infinite"), CASES.items())
def test_masks_that_can_be_minus_infinity_are_told_from_those_that_cannot(body, infinite):
    model = ir.from_onnx_text(f"""
    <ir_version: 10, opset_import: ["" : 20]>
    g (bool[4] keep, float[4] bias, float[4, 4] square) => (float[n] y)
    <float zero = {{0.0}}, float lowest = {{-3.4028234663852886e38}}, float inf = {{-inf}}, int64[1] axis = {{0}},
     int64[2] shape = {{3, 4}}>
    {{ {body} }}
    """)
    infer(model)
    assert np.isneginf(model.graph.initializers["inf"].const_value.numpy())
    assert may_be_minus_infinity(model.graph.outputs[0]) is infinite


def test_a_long_chain_of_reused_tensors_is_answered_at_once():
    steps = " ".join(f"a{n + 1} = Add (a{n}, a{n})" for n in range(60))
    model = ir.from_onnx_text(f"""
    <ir_version: 10, opset_import: ["" : 20]>
    g (float[4] x) => (float[4] y) {{ a0 = Sigmoid (x) {steps} y = Identity (a60) }}
    """)
    infer(model)
    assert may_be_minus_infinity(model.graph.outputs[0])
