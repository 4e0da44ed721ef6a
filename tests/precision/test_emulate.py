"""Emulation against its oracle: bit for bit where an operation is correctly rounded, else float64 rounded once."""

from collections.abc import Callable, Mapping
from functools import cache

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from pipeline.backends.onnxruntime import Session
from pipeline.core.errors import GraphError
from pipeline.core.formats import Format
from pipeline.precision.emulation.emulate import emulate

EVERY = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE = EVERY[np.isfinite(EVERY)]
HEAD = '<ir_version: 10, opset_import: ["" : 20]>'


def graph(body: str, inputs: str, outputs: str = "float16[n] y") -> str:
    return f"{HEAD} g ({inputs}) => ({outputs}) {{ {body} }}"


def typed(text: str) -> ir.Model:
    return ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text), strict_mode=True))


def emulated(text: str, feeds: Mapping[str, np.ndarray], accumulate: Format = Format.FP32) -> np.ndarray:
    loaded = Session(emulate(typed(text), accumulate), as_written=True)
    return loaded({k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in feeds.items()})["y"]


def by_onnx(text: str, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    with np.errstate(all="ignore"):
        return ReferenceEvaluator(onnx.parser.parse_model(text)).run(None, dict(feeds))[0]


def ulps(found: np.ndarray, expected: np.ndarray) -> int:
    """Largest distance in fp16 numbers; NaN stands only for NaN."""
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    keep = ~np.isnan(expected)
    order = [
        np.where(a.view(np.int16) < 0, -(a.view(np.int16) & 0x7FFF).astype(int), a.view(np.int16))
        for a in (found[keep].astype(np.float16), expected[keep].astype(np.float16))
    ]
    return int(np.abs(order[0] - order[1]).max(initial=0))


@pytest.mark.parametrize("op", ["Neg", "Abs", "Sqrt", "Relu", "Identity", "Floor", "Ceil"])
def test_exact_unary_operators_agree_bit_for_bit_on_every_number(op: str) -> None:
    text = graph(f"y = {op}(x)", "float16[n] x")

    found, expected = emulated(text, {"x": FINITE}), by_onnx(text, {"x": FINITE})

    np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize(
    ("op", "oracle"),
    [
        ("Exp", np.exp),
        ("Tanh", np.tanh),
        ("Reciprocal", lambda x: 1 / x),
        ("Softplus", lambda x: np.logaddexp(x, 0)),
    ],
)
def test_other_unary_operators_are_float64_rounded_once_within_an_ulp(op, oracle) -> None:
    text = graph(f"y = {op}(x)", "float16[n] x")

    with np.errstate(all="ignore"):
        expected = oracle(FINITE.astype(np.float64)).astype(np.float16)

    assert ulps(emulated(text, {"x": FINITE}), expected) <= 1


def test_sigmoid_is_within_an_ulp_and_the_runtimes_own_error() -> None:
    """ONNX Runtime's Sigmoid is a rational approximation with an absolute error of 1e-7."""
    with np.errstate(all="ignore"):
        expected = (1 / (1 + np.exp(-FINITE.astype(np.float64)))).astype(np.float16)
    found = emulated(graph("y = Sigmoid(x)", "float16[n] x"), {"x": FINITE})

    error = np.abs(found.astype(np.float64) - expected.astype(np.float64))
    assert (error <= np.spacing(expected).astype(np.float64) + 1e-7).all()


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Min", "Max"])
@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_binary_operators_agree_bit_for_bit(op: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    a, b = (random.choice(FINITE, 2048) for _ in range(2))
    text = graph(f"y = {op}(a, b)", "float16[n] a, float16[n] b")

    np.testing.assert_array_equal(session(text)({"a": a, "b": b}), by_onnx(text, {"a": a, "b": b}).astype(np.float32))


@cache
def session(text: str) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """Sessions by graph text: hypothesis asks for the same one many times."""
    loaded = Session(emulate(typed(text)), as_written=True)
    return lambda feeds: loaded({name: value.astype(np.float32) for name, value in feeds.items()})["y"]


def test_rounding_between_nodes_is_kept() -> None:
    text = graph("a = Mul(x, x)  y = Div(a, x)", "float16[n] x")

    assert emulated(text, {"x": np.array([60000], np.float16)}) == np.inf


def test_inputs_and_weights_are_rounded() -> None:
    text = f"{HEAD} g (float[n] x) => (float[n] y) {{ h = Cast <to = 10> (x)  y = Cast <to = 1> (h) }}"
    x = np.array([1 + 2.0**-11, 1 + 3 * 2.0**-11, 70000, 1e-9], np.float32)

    expected = [1.0, 1 + 2.0**-9, np.inf, 0.0]

    assert emulated(text, {"x": x}).tolist() == expected


def test_bf16_rounds_to_eight_bits() -> None:
    text = f"""{HEAD} g (float[n] x) => (float[n] y) {{
        h = Cast <to = 16> (x)  s = Add(h, h)  t = Mul(s, h)  y = Cast <to = 1> (t) }}"""
    x = np.array([1.00390625, 3.0, 255.0], np.float32)

    assert emulated(text, {"x": x}).tolist() == [2.0, 18.0, 130048.0]


def test_softmax_is_rounded_once() -> None:
    text = graph("y = Softmax <axis = -1> (x)", "float16[m, 64] x", "float16[m, 64] y")
    x = np.random.default_rng(0).normal(0, 4, (32, 64)).astype(np.float16)
    wide = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))

    assert ulps(emulated(text, {"x": x}), (wide / wide.sum(axis=-1, keepdims=True)).astype(np.float16)) <= 1


def test_layer_norm_rounds_before_scale_and_bias() -> None:
    text = graph(
        "y = LayerNormalization <axis = -1, epsilon = 1.0e-5> (x, s, b)",
        "float16[m, 64] x, float16[64] s, float16[64] b",
        "float16[m, 64] y",
    )
    random = np.random.default_rng(0)
    x, s, b = (random.normal(0, 3, shape).astype(np.float16) for shape in ((32, 64), 64, 64))
    wide = x.astype(np.float64)
    unit = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    rounded = unit.astype(np.float16).astype(np.float64)

    found = emulated(text, {"x": x, "s": s, "b": b})
    expected = (rounded * s.astype(np.float64) + b.astype(np.float64)).astype(np.float16)

    # One ulp of the normalised value, times the scale: an fp32 tie may fall the other way.
    allowed = np.abs(unit * s.astype(np.float64)) * 2.0**-10 + np.abs(expected.astype(np.float64)) * 2.0**-10
    assert (np.abs(found - expected.astype(np.float64)) <= allowed + 2.0**-24).all()
    assert (found == expected).mean() > 0.99


PRODUCT = """{head} g (float16[m, 3072] x, float16[3072, 8] w) => (float16[m, 8] y) {{ y = MatMul(x, w) }}"""


def product(weights: np.ndarray) -> ir.Model:
    model = typed(PRODUCT.format(head=HEAD))
    w = model.graph.inputs.pop(1)
    w.const_value = ir.tensor(weights, name="w")
    model.graph.register_initializer(w)
    return model


def test_a_product_sums_in_fp32_or_in_rounded_blocks() -> None:
    random = np.random.default_rng(0)
    x, w = random.normal(size=(64, 3072)).astype(np.float16), random.normal(size=(3072, 8)).astype(np.float16)
    exact = x.astype(np.float64) @ w.astype(np.float64)

    def error(accumulate: Format) -> float:
        found = Session(emulate(product(w), accumulate), as_written=True)({"x": x.astype(np.float32)})["y"]
        return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))

    assert error(Format.FP32) < 3e-4
    assert 1e-3 < error(Format.FP16) < 4e-3


def test_blocks_are_what_a_loop_in_numpy_gives() -> None:
    random = np.random.default_rng(1)
    x, w = random.normal(size=(4, 3072)).astype(np.float16), random.normal(size=(3072, 8)).astype(np.float16)
    total = np.zeros((4, 8), np.float32)
    for start in range(0, 3072, 16):
        part = x[:, start : start + 16].astype(np.float32) @ w[start : start + 16].astype(np.float32)
        total = (total + part).astype(np.float16).astype(np.float32)

    found = Session(emulate(product(w), Format.FP16), as_written=True)({"x": x.astype(np.float32)})["y"]

    np.testing.assert_allclose(found, total, rtol=0, atol=2 * 2.0**-4)
    assert (found == total).mean() > 0.5


def test_a_block_that_is_not_full_is_padded_with_nothing() -> None:
    text = f"{HEAD} g (float16[m, 5] x, float16[5, 2] w) => (float16[m, 2] y) {{ y = MatMul(x, w) }}"
    model = typed(text)
    w = model.graph.inputs.pop(1)
    w.const_value = ir.tensor(np.ones((5, 2), np.float16), name="w")
    model.graph.register_initializer(w)

    found = Session(emulate(model, Format.FP16), as_written=True)({"x": np.ones((3, 5), np.float32)})["y"]

    assert found.tolist() == [[5, 5]] * 3


def test_names_are_those_of_the_mixed_graph_and_it_is_left_alone() -> None:
    text = f"""{HEAD} g (float[n] x) => (float[n] y) {{
        h = Cast <to = 10> (x)  a = Exp(h)  b = Neg(a)  y = Cast <to = 1> (b) }}"""
    mixed = typed(text)
    before = ir.to_proto(mixed).SerializeToString()

    names = {str(value.name) for node in emulate(mixed).graph for value in node.outputs}

    assert {"h", "a", "b", "y"} <= names
    assert ir.to_proto(mixed).SerializeToString() == before


def test_a_low_recurrence_is_refused_by_name() -> None:
    text = f"""{HEAD} g (float16[s, 1, 2] x, float16[1, 8, 2] w, float16[1, 8, 2] r) => (float16[s, 1, 1, 2] y) {{
        [memory] y = LSTM <hidden_size = 2> (x, w, r) }}"""

    with pytest.raises(GraphError) as error:
        emulate(typed(text))

    assert str(error.value) == (
        "node memory: LSTM works on x in a low format, which cannot be emulated\n"
        "  hint: keep it in fp32: add its name to precision.fp32"
    )


def test_subgraphs_pass_through_in_fp32() -> None:
    text = f"""{HEAD} g (float[n] x, bool c) => (float[n] y) {{
        h = Cast <to = 10> (x)  w = Cast <to = 1> (h)
        y = If (c) <then_branch = yes () => (float[n] p) {{ p = Add(w, w) }},
                    else_branch = no () => (float[n] q) {{ q = Neg(w) }}> }}"""
    x = np.array([1 + 2.0**-11], np.float32)

    assert emulated(text, {"x": x, "c": np.array(True)}) == [2.0]
    assert emulated(text, {"x": x, "c": np.array(False)}) == [-1.0]
