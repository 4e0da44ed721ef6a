"""Rescaling changes no bit in fp32: every tensor, un-scaled by its fate, is what it was. Run by ONNX Runtime."""

import copy
import re

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backends.onnxruntime import Session
from pipeline.graph import correspondence
from pipeline.precision.rescale.apply import apply
from pipeline.precision.rescale.exponents import Exponents
from pipeline.precision.rescale.walk import Order, Seeds, walk
from pipeline.precision.rewrites.types import infer

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
B, S, C, H = 2, 3, 6, 8
"""Batch, sequence, model width, hidden width."""

FEED_FORWARD = f"""
g (float[{B}, {S}, {C}] x) => (float[{B}, {S}, {C}] y) {{
    [up] h = MatMul(x, w_up)
    [bias] hb = Add(h, b_up)
    [act] a = Relu(hb)
    [down] d = MatMul(a, w_down)
    [residual] y = Add(d, x)
}}"""
GATED = f"""
g (float[{B}, {S}, {C}] x) => (float[{B}, {S}, {C}] y) {{
    [gate] g0 = MatMul(x, w_gate)
    [sigmoid] g1 = Sigmoid(g0)
    [swish] g2 = Mul(g0, g1)
    [up] u = MatMul(x, w_up)
    [product] h = Mul(g2, u)
    [down] y = MatMul(h, w_down)
}}"""
SQUARED = f"""
g (float[{B}, {S}, {C}] x) => (float[{B}, {S}, {C}] y) {{
    [up] u = MatMul(x, w_up)
    [relu] r = Relu(u)
    [square] h = Pow(r, two)
    [down] y = MatMul(h, w_down)
}}"""
NORMED = f"""
g (float[{B}, {S}, {C}] x) => (float[{B}, {S}, {H}] y) {{
    [up] u = MatMul(x, w_up)
    [bias] ub = Add(u, b_up)
    [norm] y = LayerNormalization <axis = -1, epsilon = 1e-5> (ub, gain, shift)
}}"""
ROOT_MEAN_SQUARE = f"""
g (float[{B}, {S}, {C}] x) => (float[{B}, {S}, {H}] y) {{
    [up] u = MatMul(x, w_up)
    [squares] p = Pow(u, two)
    [mean] m = ReduceMean <keepdims = 1> (p, last)
    [eps] e = Add(m, epsilon)
    [root] r = Sqrt(e)
    [inverse] i = Reciprocal(r)
    [apply] n = Mul(u, i)
    [gain] y = Mul(n, b_up)
}}"""
VALUES = f"""
g (float[{B}, {S}, {C}] x, float[{B}, 2, {S}, {S}] p) => (float[{B}, {S}, {C}] y) {{
    [up] v = MatMul(x, w_up)
    [heads] v4 = Reshape(v, split)
    [first] vt = Transpose <perm = [0, 2, 1, 3]> (v4)
    [context] c4 = MatMul(p, vt)
    [last_] ct = Transpose <perm = [0, 2, 1, 3]> (c4)
    [merged] c = Reshape(ct, join)
    [down] y = MatMul(c, w_down)
}}"""
SCORES = f"""
g (float[{B}, {S}, {C}] x, float[{B}, {H}, {S}] k) => (float[{B}, {S}, {S}] y) {{
    [up] q = MatMul(x, w_up)
    [scores] s = MatMul(q, k)
    [scale] t = Mul(s, eighth)
    [softmax] y = Softmax <axis = -1> (t)
}}"""
SMOOTH = f"""
g (float[{B}, {S}, {C}] x) => (float[{B}, {S}, {C}] y, float[{B}, {S}, {H}] h) {{
    [up] h = MatMul(x, w_up)
    [act] a = Gelu(h)
    [down] y = MatMul(a, w_down)
}}"""
TURNED = f"""
g (float[{S}, {C}] x) => (float[{C}, {S}] y) {{
    [up] h = Gemm <transB = 1> (x, w_turned, b_up)
    [leak] a = LeakyRelu <alpha = 0.25> (h)
    [turn] t = Transpose <perm = [1, 0]> (a)
    [back] u = Transpose <perm = [1, 0]> (t)
    [divide] d = Div(u, b_up)
    [down] z = Gemm(d, w_down)
    [y] y = Transpose <perm = [1, 0]> (z)
}}"""
BRANCHED = f"""
g (float[{B}, {S}, {C}] x, bool c) => (float[{B}, {S}, {H}] y) {{
    [up] h = MatMul(x, w_up)
    [choose] y = If (c) <
        then_branch = yes () => (float[{B}, {S}, {H}] kept) {{ [keep] kept = Identity(h) }},
        else_branch = no () => (float[{B}, {S}, {H}] turned) {{ [minus] turned = Neg(h) }}
    >
}}"""
CONVOLVED = f"""
g (float[{B}, {C}, 5, 5] x) => (float[{B}, 4, 2, 2] y) {{
    [up] h = Conv <pads = [1, 1, 1, 1]> (x, w_conv, b_up)
    [act] a = Relu(h)
    [pool] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
    [down] y = Conv(p, w_point)
}}"""
JOINED = f"""
g (float[{B}, {S}, {C}] x) => (float[{B}, {S}, {C}] y) {{
    [up] h = MatMul(x, w_up)
    [both] t = Concat <axis = 1> (h, h)
    [largest] m = ReduceMax <keepdims = 1> (t, middle)
    [less] s = Sub(h, m)
    [down] y = MatMul(s, w_down)
}}"""
GRAPHS = {
    "feed forward": FEED_FORWARD,
    "gated": GATED,
    "squared": SQUARED,
    "layer norm": NORMED,
    "RMS norm": ROOT_MEAN_SQUARE,
    "attention values": VALUES,
    "attention scores": SCORES,
    "not homogeneous": SMOOTH,
    "Gemm": TURNED,
    "subgraph": BRANCHED,
    "convolution": CONVOLVED,
    "joined": JOINED,
}


def weights(seed):
    random = np.random.default_rng(seed)
    shapes = {
        "w_up": (C, H),
        "w_gate": (C, H),
        "w_down": (H, C),
        "w_turned": (H, C),
        "b_up": (H,),
        "gain": (H,),
        "shift": (H,),
        "w_conv": (H, C, 3, 3),
        "w_point": (4, H, 1, 1),
    }
    drawn = {name: random.normal(0, 1, shape).astype(np.float32) for name, shape in shapes.items()}
    return drawn | {
        "two": np.array(2, np.float32),
        "eighth": np.array(0.125, np.float32),
        "epsilon": np.array(1e-5, np.float32),
        "last": np.array([-1]),
        "middle": np.array([1]),
        "split": np.array([0, 0, 2, H // 2]),
        "join": np.array([0, 0, H]),
    }


def parse(text, seed=0):
    named = {name: array for name, array in weights(seed).items() if re.search(rf"[(, ]{name}[,)]", text)}
    tensors = [ir.tensor(array, name=name) for name, array in named.items()]
    model = ir.from_onnx_text(HEAD + text, initializers=tensors)
    infer(model)
    return model


def feeds(model, seed):
    random = np.random.default_rng(seed + 1)
    found = {}
    for value in model.graph.inputs:
        shape = [int(dim) for dim in value.shape]
        boolean = value.dtype is ir.DataType.BOOL
        found[value.name] = np.array(True) if boolean else random.normal(0, 1, shape).astype(np.float32)
    return found


def everything(model, given):
    """Every float tensor that the main graph computes."""
    model = copy.copy(model)
    kept = list(model.graph.outputs)
    for node in model.graph:
        for value in node.outputs:
            if value.dtype is ir.DataType.FLOAT and not value.is_graph_output():
                model.graph.outputs.append(value)
    arrays = Session(model, as_written=True)(given)
    del model.graph.outputs[len(kept) :]
    return arrays


def exponents(draw_uniform, values, channels, axis):
    return Exponents(values=(values[0],)) if draw_uniform else Exponents.along(values[:channels], axis)


def rescaled(text, seed, seeds):
    model = parse(text, seed)
    scaling = walk(Order.of(model.graph), seeds, fits=lambda value: True)
    return model, scaling, apply(model, scaling, {})


def require_equal(text, seed, seeds):
    before, given = parse(text, seed), feeds(parse(text, seed), seed)
    after, _, written = rescaled(text, seed, seeds)
    expected, found = everything(before, given), everything(after, given)
    for name, array in expected.items():
        fate = correspondence.lookup(written.fates.values(), name)
        scale = (
            Exponents(values=(fate.exponent,))
            if not fate.exponents
            else Exponents(values=fate.exponents, axis=fate.axis)
        )
        np.testing.assert_array_equal(scale.times(-1).scale(found[fate.now]), array, err_msg=name)


@pytest.mark.parametrize("text", GRAPHS.values(), ids=GRAPHS)
@settings(max_examples=8, deadline=None)
@given(
    seed=st.integers(0, 999),
    uniform=st.booleans(),
    values=st.lists(st.integers(-12, 6), min_size=H, max_size=H),
)
def test_no_bit_changes_whatever_the_exponents(text, seed, uniform, values):
    axis = -3 if "w_conv" in text else -1
    require_equal(text, seed, Seeds(nodes={"up": exponents(uniform, values, H, axis)}))


@pytest.mark.parametrize("text", [FEED_FORWARD, GATED, SMOOTH, VALUES])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 999), uniform=st.booleans(), values=st.lists(st.integers(-12, 6), min_size=H, max_size=H))
def test_what_a_layer_reads_can_be_scaled_and_its_weights_take_it_back(text, seed, uniform, values):
    require_equal(text, seed, Seeds(operands={("down", 0): exponents(uniform, values, H, -1)}))


@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 999), exponent=st.integers(-12, 6))
def test_a_layer_can_hand_on_what_its_operand_is_scaled_by(seed, exponent):
    scale = Exponents(values=(exponent,))
    require_equal(SMOOTH, seed, Seeds(operands={("down", 0): scale}, passing=frozenset({"down"})))


def added(text, seeds):
    return rescaled(text, 0, seeds)[1].added


@pytest.mark.parametrize(
    ("name", "muls"),
    [
        ("feed forward", 0),
        ("gated", 0),
        ("squared", 0),
        ("layer norm", 0),
        ("RMS norm", 0),
        ("attention values", 0),
        ("attention scores", 0),
        ("convolution", 0),
        ("joined", 0),
        ("not homogeneous", 1),
        ("subgraph", 1),
    ],
)
def test_a_mul_is_inserted_only_where_nothing_can_take_the_scale(name, muls):
    assert added(GRAPHS[name], Seeds(nodes={"up": Exponents(values=(-2,))})) == muls


def test_epsilon_goes_with_the_square_and_scale_and_bias_stay():
    model, _, written = rescaled(NORMED, 0, Seeds(nodes={"up": Exponents(values=(-3,))}))
    norm = next(node for node in model.graph if node.name == "norm")
    assert norm.attributes.get_float("epsilon") == float(np.float32(1e-5)) * 2.0**-6
    assert {"gain", "shift"}.isdisjoint(written.fates)


def test_the_bias_is_scaled_with_its_layer():
    model, _, _ = rescaled(FEED_FORWARD, 0, Seeds(nodes={"up": Exponents(values=(-3,))}))
    bias = model.graph.initializers["b_up"].const_value.numpy()
    np.testing.assert_array_equal(bias, weights(0)["b_up"] * np.float32(0.125))


def test_fates_name_every_tensor_that_is_held_scaled():
    _, _, written = rescaled(SMOOTH, 0, Seeds(nodes={"up": Exponents(values=(-3,))}))
    assert written.fates.keys() == {"w_up"}, "a graph output keeps its meaning"
    _, _, written = rescaled(FEED_FORWARD, 0, Seeds(nodes={"up": Exponents(values=(-3,))}))
    told = {name: fate.exponent for name, fate in written.fates.items()}
    assert told == {"h": -3, "hb": -3, "a": -3, "w_up": -3, "b_up": -3, "w_down": 3}
    assert written.fates["h"].reason == "held times 2^-3"


def test_a_weight_that_others_read_stays_as_it_is():
    text = FEED_FORWARD.replace("[residual] y = Add(d, x)", "[again] e = MatMul(a, w_down)\n [sum] y = Add(d, e)")
    require_equal(text, 0, Seeds(nodes={"up": Exponents(values=(-3,))}))
