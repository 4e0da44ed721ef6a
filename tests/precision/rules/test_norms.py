"""Normalisations are recognised as operators and written out, whole, whatever their ranges."""

import pytest

from pipeline.core.formats import Format

FP32, FP16 = Format.FP32, Format.FP16

RMS_NORM = """
rms (float[8, 1] x) => (float[8, 8] y)
    <float two = {{2}}, float eps = {{0.00001}}, int64[1] last = {{-1}}, float[8] w = {{1, 1, 1, 1, 1, 1, 1, 1}},
     float[1, 8] v = {{1, 1, 1, 1, 1, 1, 1, 1}}> {{
    [before] h = MatMul(x, v)
    [square] s = {square}
    [mean] m = ReduceMean <keepdims = 1> (s, last)
    [eps] e = Add(m, eps)
    [root] r = Sqrt(e)
    {apply}
    [scale] t = Mul(w, n)
    [after] y = Exp(t)
}}
"""

SQUARES = {"power": "Pow(h, two)", "product": "Mul(h, h)"}
APPLICATIONS = {
    "quotient": ("[apply] n = Div(h, r)", {"apply"}),
    "reciprocal": ("[inverse] i = Reciprocal(r) [apply] n = Mul(h, i)", {"inverse", "apply"}),
    "one over": (
        "[one] o = Constant <value = float {1.0}> () [inverse] i = Div(o, r) [apply] n = Mul(i, h)",
        {"inverse", "apply"},
    ),
}


@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize("application", APPLICATIONS)
def test_every_node_of_a_written_out_rms_norm_is_fp32(decided, square, application):
    text, names = APPLICATIONS[application]
    plan = decided(RMS_NORM.format(square=SQUARES[square], apply=text), s=3.5)
    chain = {"square", "mean", "eps", "root", "scale"} | names
    assert {name for name, item in plan.items() if item.rule == "norm"} == chain
    assert all((plan[name].operands, plan[name].result) == (FP32, FP32) for name in chain)
    assert (plan["before"].operands, plan["before"].result) == (FP16, FP16)
    assert (
        plan["eps"].reason == "RMSNorm written out, squares reach 3.5: a rounding anywhere in it scales the whole row"
    )


def test_a_written_out_layer_norm_includes_its_mean_and_bias(decided):
    plan = decided(
        """
    layer_norm (float[2, 8] x) => (float[2, 8] y)
        <float two = {2}, float eps = {0.00001}, float[8] w = {1, 1, 1, 1, 1, 1, 1, 1}> {
        [mean] m = ReduceMean <keepdims = 1, axes = [-1]> (x)
        [centre] c = Sub(x, m)
        [square] s = Pow(c, two)
        [variance] v = ReduceMean <keepdims = 1, axes = [-1]> (s)
        [eps] e = Add(v, eps)
        [root] r = Sqrt(e)
        [apply] n = Div(c, r)
        [scale] t = Mul(n, w)
        [bias] b = Add(t, w)
        [after] y = Exp(b)
    }
    """,
        opset=17,
    )
    assert {name for name, item in plan.items() if item.rule == "norm"} == plan.keys() - {"after"}
    assert plan["mean"].reason.startswith("LayerNorm written out, ")


def test_division_by_the_euclidean_norm_is_one(decided):
    plan = decided("""
    normalize (float[2, 8] x) => (float[2, 8] y) <float small = {1e-12}, int64[1] last = {-1}> {
        [norm] n = ReduceL2 <keepdims = 1> (x, last)
        [floor] c = Clip(n, small)
        [apply] y = Div(x, c)
    }
    """)
    assert {item.rule for item in plan.values()} == {"norm"}
    assert plan["norm"].reason.startswith("L2 normalisation written out, squares reach 1:")


@pytest.mark.parametrize(
    "call",
    [
        "GroupNormalization <num_groups = 2> (x, w, w)",
        "LayerNormalization(x, w, w)",
        "InstanceNormalization(x, w, w)",
        "LpNormalization(x)",
    ],
)
def test_normalisation_operators_are_fp32_with_scale_and_bias(decided, call):
    shape = "float[2, 4, 4]"
    plan = decided(
        f"g ({shape} x) => ({shape} y) <float[4] w = {{1, 1, 1, 1}}> {{ [norm] n = {call} [out] y = Neg(n) }}", opset=21
    )
    assert (plan["norm"].operands, plan["norm"].result, plan["norm"].rule) == (FP32, FP32, "norm")
    op = call.partition("(")[0].partition(" ")[0]
    assert plan["norm"].reason == f"{op}: statistics, scale and bias in fp32"


def test_batch_normalization_is_low_because_its_statistics_are_constants_that_stay_fp32(decided):
    plan = decided("""
    g (float[1, 2, 4] x) => (float[1, 2, 4] y) <float[2] w = {1, 1}, float[2] v = {90000, 1},
         float[2, 2, 1] k = {1, 2, 3, 4}> {
        [before] h = Conv(x, k)
        [norm] n = BatchNormalization(h, w, w, w, v)
        [after] y = Exp(n)
    }
    """)
    assert (plan["norm"].operands, plan["norm"].rule) == (FP16, "default")


def test_a_mean_of_squares_that_normalises_nothing_is_no_norm(decided):
    plan = decided("""
    energy (float[2, 8] x) => (float[2, 1] y) <int64[1] last = {-1}> {
        [square] s = Mul(x, x) [mean] y = ReduceMean <keepdims = 1> (s, last)
    }
    """)
    assert "norm" not in {item.rule for item in plan.values()}
