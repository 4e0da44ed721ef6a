"""What does not fit is not rounded, neither where it is made nor where it is read."""

from pathlib import Path

import pytest

from pipeline.core.artifacts import ActivationRanges
from pipeline.core.errors import CalibrationError
from pipeline.core.formats import Format
from pipeline.core.spec import PrecisionSpec
from pipeline.precision import evidence
from pipeline.precision.policy import policies, policy_file

FP32, FP16 = Format.FP32, Format.FP16

CHAIN = "chain (float[4] x) => (float[4] y) { [a] p = Exp(x) [b] q = Sqrt(p) [c] r = Neg(q) [d] y = Exp(r) }"


def fp32(plan):
    return {
        name for name, item in plan.items() if item.operands is FP32 or (item.operands is None and item.result is FP32)
    }


def test_the_maker_and_every_reader_of_a_large_tensor_are_fp32(decided):
    plan = decided(CHAIN, p=20000.0)
    assert fp32(plan) == {"a", "b"}
    assert (plan["b"].operands, plan["b"].result) == (FP32, FP16)
    assert plan["a"].rule == "overflow"
    assert plan["a"].reason == ("p reached 2e+04 in calibration; with a margin of 4 that is beyond fp16's 65504")


@pytest.mark.parametrize(
    ("magnitude", "margin", "nodes"),
    [
        (16376.0, 4.0, set()),
        (16377.0, 4.0, {"a", "b"}),
        (60000.0, 1.0, set()),
        (65505.0, 1.0, {"a", "b"}),
    ],
)
def test_the_margin_is_exact(decided, magnitude, margin, nodes):
    assert fp32(decided(CHAIN, spec=PrecisionSpec(overflow_margin=margin), p=magnitude)) == nodes


def test_bf16_holds_what_fp16_does_not(decided):
    assert fp32(decided(CHAIN, spec=PrecisionSpec(low=Format.BF16), p=1e6)) == set()
    assert fp32(decided(CHAIN, spec=PrecisionSpec(low=Format.BF16), p=3e38)) == {"a", "b"}


def test_non_finite_values_in_calibration_are_not_rounded(decided, seen):
    plan = decided(CHAIN, p=seen(1.0, nan=3))
    assert fp32(plan) == {"a", "b"}
    assert plan["a"].reason == "p held 3 non-finite elements in calibration"


def test_a_product_whose_result_is_too_large_is_fp32_whole(decided):
    plan = decided(
        "g (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1, 2, 3, 4}> { [m] h = MatMul(x, w) [n] y = Exp(h) }",
        h=3e4,
    )
    assert (plan["m"].operands, plan["m"].accumulator, plan["m"].result) == (FP32, None, FP32)


def test_a_reduction_whose_result_is_too_large_reads_low_operands(decided):
    plan = decided(
        "g (float[1, 2] x) => (float y) { [a] h = Exp(x) [s] t = ReduceSum <keepdims = 0> (h) [l] y = Log(t) }", t=3e4
    )
    assert (plan["s"].operands, plan["s"].accumulator, plan["s"].result) == (FP16, FP32, FP32)


def test_a_weight_beyond_the_format_keeps_its_node_fp32_and_says_so(decided):
    plan = decided("g (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1, -70000, 3, 4}> { [m] y = MatMul(x, w) }")
    assert (plan["m"].operands, plan["m"].rule) == (FP32, "constant")
    assert plan["m"].reason.startswith("w holds -7e+04, beyond fp16's 65504")


@pytest.mark.parametrize("lowest", ["-3.4028235e38", "-inf", "nan"])
def test_a_mask_is_fp32_although_no_sample_was_masked(decided, lowest):
    plan = decided(
        f"""
    g (float[2, 4] x, bool[4] m) => (float[2, 4] y)
        <float zero = {{0}}, float lowest = {{{lowest}}}, int64[1] axis = {{0}}> {{
        [mask] b = Where(m, zero, lowest)
        [shape] c = Unsqueeze(b, axis)
        [add] s = Add(x, c)
        [bound] p = Sigmoid(s)
        [after] y = Exp(p)
    }}
    """,
        b=0.0,
        c=0.0,
    )
    assert fp32(plan) == {"mask", "shape", "add", "bound"}
    assert plan["bound"].result is FP16
    assert plan["add"].reason.startswith("the constant lowest of magnitude ")


def test_a_mask_is_followed_through_a_factor_that_was_always_zero(decided, seen):
    plan = decided(
        """
    g (float[2, 4] x, int64[4] m) => (float[2, 4] y) <float one = {1}, float lowest = {-3.4e38}> {
        [cast] f = Cast <to = 1> (m)
        [invert] i = Sub(one, f)
        [mask] b = Mul(i, lowest)
        [add] s = Add(x, b)
        [softmax] p = Softmax(s)
        [after] y = Exp(p)
    }
    """,
        i=seen(0.0),
        b=seen(0.0),
    )
    assert {"mask", "add", "softmax"} <= fp32(plan)
    assert plan["add"].reason == (
        "the constant lowest of magnitude 3.4e+38 can reach b whatever calibration saw, and fp16 ends at 65504"
    )


def test_clip_bounds_what_a_constant_reaches(decided):
    plan = decided("""
    g (float[4] x, bool[4] m) => (float[4] y) <float low = {-10}, float high = {10}, float big = {1e6}> {
        [select] s = Where(m, x, big) [clip] c = Clip(s, low, high) [after] y = Exp(c)
    }
    """)
    assert fp32(plan) == {"select", "clip"}


def test_a_large_weight_that_always_takes_part_says_nothing_of_what_follows(decided):
    plan = decided("""
    g (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1, 70000, 3, 4}> {
        [m] h = MatMul(x, w) [a] i = Sigmoid(h) [b] j = Exp(i) [c] y = Exp(j)
    }
    """)
    assert fp32(plan) == {"m"}


def test_a_tensor_that_was_not_observed_is_not_rounded(graph, observe):
    model = graph(CHAIN)
    known = observe(model)
    ranges = ActivationRanges(
        model="m",
        samples=1,
        low=FP16,
        tensors={n: r for n, r in known.tensors.items() if n != "p"},
        unobserved={"p": "empty"},
    )
    spec = PrecisionSpec()
    settings = policy_file.settings(spec, Path("engines/tiny"))
    plan = {i.node: i for i in policies.decide(evidence.gather(model, ranges, spec), settings, {})}
    assert fp32(plan) == {"a", "b"}
    assert plan["a"].reason == "p was not observed in calibration: empty"


def test_a_tensor_that_nobody_explains_is_an_error(graph, observe):
    model = graph(CHAIN)
    known = observe(model)
    del known.tensors["q"]
    with pytest.raises(CalibrationError) as caught:
        evidence.gather(model, known, PrecisionSpec())
    assert str(caught.value) == (
        "tensor q of node b: calibration neither observed this tensor nor says why not\n"
        "  hint: run calibrate on this graph"
    )
