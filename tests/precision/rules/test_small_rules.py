"""Underflow, angles, whole numbers, recurrences: each rule alone."""

import pytest

from pipeline.core.formats import Format
from pipeline.core.spec import PrecisionSpec

FP32, FP16 = Format.FP32, Format.FP16
W = "float[2, 2] w = {1, 2, 3, 4}"
EXPS = f"""
g (float[1, 2] x) => (float[1, 2] y) <{W}> {{
    [m] h = MatMul(x, w) [a] i = Exp(h) [b] j = Exp(i) [c] y = MatMul(j, w)
}}
"""


def rules(plan):
    return {name: item.rule for name, item in plan.items()}


def test_a_tensor_that_would_be_lost_is_not_rounded(decided, seen):
    plan = decided(EXPS, i=seen(1.0, lost=51))
    assert rules(plan) == {"m": "accumulator", "a": "underflow", "b": "underflow", "c": "accumulator"}
    assert plan["a"].reason == "51% of i would round to zero in fp16"


@pytest.mark.parametrize(("share", "rule"), [(0.51, "default"), (0.50, "underflow")])
def test_the_share_is_the_specs(decided, seen, share, rule):
    plan = decided(EXPS, spec=PrecisionSpec(underflow_share=share), i=seen(1.0, lost=51))
    assert plan["a"].rule == rule


def test_what_a_sum_outweighs_may_be_lost(decided, seen):
    text = f"g (float[1, 2] x) => (float[1, 2] y) <{W}> {{ [m] h = MatMul(x, w) [a] i = Exp(h) [c] y = MatMul(i, w) }}"
    assert decided(text, i=seen(1.0, lost=90))["a"].rule == "default"
    assert decided(text, i=seen(1e-4, lost=90))["a"].rule == "default"
    assert decided(text, i=seen(3e-5, lost=90))["a"].rule == "underflow"


def test_the_root_of_squares_may_lose_little(decided, seen):
    plan = decided(
        f"""
    magnitude (float[1, 2] x) => (float[1, 2] y) <{W}, float two = {{2}}> {{
        [m] h = MatMul(x, w) [s] q = Pow(h, two) [a] t = Add(q, q) [r] i = Sqrt(t) [c] y = MatMul(i, w)
    }}""",
        q=seen(1.0, lost=5),
        t=seen(1.0, lost=2),
    )
    assert rules(plan) == {"m": "accumulator", "s": "underflow", "a": "underflow", "r": "underflow", "c": "accumulator"}
    assert plan["r"].reason == "2% of t would round to zero in fp16, and Sqrt r magnifies what is small"


def test_a_constant_too_small_for_the_format_keeps_its_node_fp32(decided):
    plan = decided(f"""
    g (float[1, 2] x) => (float[1, 2] y) <{W}, float e = {{1e-9}}> {{
        [m] h = MatMul(x, w) [a] i = Max(h, e) [c] y = MatMul(i, w)
    }}""")
    assert plan["a"].reason == "e is 1e-09 at most, under fp16's smallest normal number 6.1e-05"


@pytest.mark.parametrize(
    ("guard", "rule"),
    [("Max(p, e)", "underflow"), ("Clip(p, e)", "underflow"), ("Add(p, e)", "underflow"), ("Max(p, w)", "default")],
)
def test_a_constant_that_guards_a_logarithm_is_not_lost_before_it(decided, guard, rule):
    plan = decided(f"""
    g (float[1, 2] x) => (float[1, 2] y) <{W}, float e = {{1e-10}}, float two = {{2}}> {{
        [m] h = MatMul(x, w) [power] p = Pow(h, two) [guard] i = {guard} [log] l = Log(i) [c] y = MatMul(l, w)
    }}""")
    assert {plan[name].rule for name in ("power", "guard", "log")} == {rule}
    assert (plan["log"].operands is FP32) == (plan["guard"].result is FP32) == (rule == "underflow")
    assert plan["c"].operands is FP16


def test_a_constant_that_guards_a_divisor_is_not_lost_before_it(decided):
    plan = decided(f"""
    unit (float[1, 2] x) => (float[1, 2] y) <{W}, float e = {{1e-12}}, int64[1] last = {{1}}> {{
        [m] h = MatMul(x, w) [n] l = ReduceL2(h, last) [guard] i = Max(l, e) [d] q = Div(h, i) [c] y = MatMul(q, w)
    }}""")
    assert (plan["guard"].result, plan["d"].operands) == (FP32, FP32)


ROTARY = """
rotary (int64[S] position, float[S, 4] q) => (float[S, 4] y)
    <float[4] frequency = {1, 0.1, 0.01, 0.001}, int64[1] axis = {1},
     float[4, 4] w = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}> {
    [cast] f = Cast <to = 1> (position)
    [column] c = Unsqueeze(f, axis)
    [angle] a = Mul(c, frequency)
    [sin] s = Sin(a)
    [rows] r = MatMul(q, w)
    [rotate] t = Mul(r, s)
    [out] y = MatMul(t, w)
}
"""


def test_large_angles_are_fp32_from_the_position_on(decided):
    plan = decided(ROTARY, f=511.0, c=511.0, a=511.0)
    assert {name for name, rule in rules(plan).items() if rule == "angle"} == {"cast", "column", "angle", "sin"}
    assert plan["sin"].reason == "angles reach 511: rounding them to fp16 errs by up to 0.25 rad"
    assert (plan["rotate"].operands, plan["rotate"].result) == (FP16, FP16)


def test_small_angles_may_be_rounded(decided):
    assert "angle" not in rules(decided(ROTARY, a=4.0)).values()


def test_what_becomes_an_index_is_fp32_with_the_computation_before_it(decided):
    plan = decided(
        f"""
    bucket (float[1, 2] x) => (int64[1, 2] y, float[1, 2] z) <{W}> {{
        [m] h = MatMul(x, w) [log] l = Log(h) [double] d = Add(l, l) [index] y = Cast <to = 7> (d) [c] z = MatMul(h, w)
    }}"""
    )
    assert rules(plan) == {
        "m": "accumulator",
        "log": "discrete",
        "double": "discrete",
        "index": "discrete",
        "c": "accumulator",
    }
    assert plan["log"].reason == "Cast index makes whole numbers of it"


@pytest.mark.parametrize(("largest", "rule"), [(2048.0, "default"), (2049.0, "discrete")])
def test_integers_stay_exact(decided, largest, rule):
    text = f"g (int64[1, 2] n) => (float[1, 2] y) <{W}> {{ [cast] h = Cast <to = 1> (n) [m] y = MatMul(h, w) }}"
    plan = decided(text, h=largest)
    assert plan["cast"].rule == rule


def test_a_recurrence_is_fp32(decided):
    weights = ", ".join(
        f"float[1, {shape}] {name} = {{{', '.join(['1'] * count)}}}"
        for name, shape, count in (("a", "4, 2", 8), ("b", "4, 1", 4))
    )
    plan = decided(
        f"g (float[S, 1, 2] x) => (float[S, 1, 1, 1] y) <{weights}> {{ [lstm] y = LSTM <hidden_size = 1> (x, a, b) }}"
    )
    assert plan["lstm"].reason == "a recurrence: in fp16 its state would be rounded at every step"
    assert (plan["lstm"].operands, plan["lstm"].result) == (FP32, FP32)


DETECTOR = """
detector (float[1, 4, 4, 4] image, float[2, 4, 1, 1] head, float[4, 4, 1, 1] box) => (float[1, 4, 2] boxes)
    <float half = {0.5}, int64[1] two = {2}, int64[1] axis = {1}, int64[3] flat = {1, -1, 16}, int64[3] all = {1, 4, 2}>
{
    [body] x = Conv(image, box)
    [act] a = Sigmoid(x)
    [score] s = Conv(a, head)
    [probability] p = Sigmoid(s)
    [halve] h = Mul(p, half)
    [lay] l = Reshape(h, flat)
    [best] m = ReduceMax <keepdims = 0> (l, axis)
    [rank] v, i = TopK(m, two)
    [box] b = Conv(a, box)
    [spread] e = Reshape(b, flat)
    [there] j = Unsqueeze(i, axis)
    [every] k = Expand(j, all)
    [take] boxes = GatherElements <axis = 2> (e, k)
}
"""


def test_what_is_ranked_is_fp32_from_the_last_sum_on(decided):
    plan = decided(DETECTOR)
    ranked = {name for name, item in plan.items() if item.rule == "ranked"}
    assert ranked == {"score", "probability", "halve", "lay", "best", "rank"}
    assert plan["score"].operands is FP32
    assert plan["score"].reason == "TopK rank ranks it, and what rounding makes equal comes in another order"
    assert (plan["take"].operands, plan["act"].result) == (FP16, FP16)


def test_values_whose_ranks_nobody_reads_may_be_rounded(decided):
    plan = decided(f"""
    largest (float[1, 2] x) => (float[1, 1] y) <{W}, int64[1] one = {{1}}> {{
        [m] h = MatMul(x, w) [t] y, i = TopK(h, one)
    }}""")
    assert "ranked" not in rules(plan).values()


ROUTER = f"""
router (float[1, 2] x) => (int64[1] y, float[1, 2] z) <{W}, float[2] b = {{1, 2}}> {{
    [before] r = MatMul(x, w) [residual] h = Add(x, r) [norm] n = Sigmoid(h)
    [gate] g = {{gate}}
    [share] p = Softmax(g)
    [choose] y = ArgMax <axis = 1, keepdims = 0> (p)
    [after] z = MatMul(n, w)
}}
"""


@pytest.mark.parametrize(("gate", "operands"), [("MatMul(n, w)", FP16), ("Gemm(n, w, b)", FP32)])
def test_a_product_has_an_fp32_result_and_low_operands_unless_it_adds_a_bias(decided, gate, operands):
    plan = decided(ROUTER.replace("{gate}", gate))
    assert (plan["gate"].operands, plan["gate"].result) == (operands, FP32)
    assert plan["choose"].operands is FP32
    assert plan["norm"].result is FP16


def test_a_residual_stream_is_not_followed(decided):
    plan = decided(
        f"""
    pointer (float[1, 2] x) => (int64[1] y, float[1, 2] z) <{W}> {{
        [m] r = MatMul(x, w) [residual] h = Add(x, r) [again] t = MatMul(h, w) [stream] s = Add(h, t)
        [choose] y = ArgMax <axis = 1, keepdims = 0> (s) [next] u = MatMul(h, w) [end] z = Add(u, h)
    }}"""
    )
    assert (plan["stream"].result, plan["again"].result) == (FP32, FP16)
    assert plan["residual"].result is FP16


def test_boxes_that_suppress_one_another_are_fp32_too(decided):
    plan = decided(
        f"""
    suppress (float[1, 2, 4] x, float[1, 1, 2] s) => (int64[n, 3] y) <float[4, 4] w = {{{", ".join("1" * 16)}}},
        float[4] size = {{1, 1, 2, 2}}, int64 most = {{1}}, float[2, 2] v = {{1, 2, 3, 4}}> {{
        [box] b = MatMul(x, w) [scale] c = Mul(b, size) [score] t = MatMul(s, v) [log] u = Exp(t)
        [keep] y = NonMaxSuppression(c, u, most)
    }}"""
    )
    assert {name for name, item in plan.items() if item.rule == "ranked"} == {"box", "scale", "score", "log"}
    assert plan["keep"].operands is FP32
