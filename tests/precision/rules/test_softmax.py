"""Softmax is fp32 with its scale and mask; the products around it stay low, so that attention stays fused."""

from pipeline.core.formats import Format

FP32, FP16 = Format.FP32, Format.FP16

ATTENTION = """
attention (float[1, 2, S, 16] q, float[1, 2, 16, S] k, float[1, 2, S, 16] v, bool[1, 1, 1, S] m)
    => (float[1, 2, S, 16] y)
    <float scale = {0.25}, float zero = {0}, float lowest = {-3.4e38}> {
    [queries] ql = Relu(q)
    [keys] kl = Relu(k)
    [mask] b = Where(m, zero, lowest)
    [scores] s = MatMul(ql, kl)
    [scaled] t = Mul(s, scale)
    [masked] u = Add(t, b)
    [softmax] p = Softmax <axis = -1> (u)
    [moved] c = Identity(p)
    [values] o = MatMul(c, v)
    [after] y = Relu(o)
}
"""


def formats(item):
    return item.operands, item.accumulator, item.result


def test_scale_mask_and_softmax_are_fp32_between_two_low_products(decided):
    plan = decided(ATTENTION)
    assert {name: formats(item) for name, item in plan.items()} == {
        "queries": (FP16, None, FP16),
        "keys": (FP16, None, FP16),
        "mask": (FP32, None, FP32),
        "scores": (FP16, None, FP16),
        "scaled": (FP32, None, FP32),
        "masked": (FP32, None, FP32),
        "softmax": (FP32, None, FP32),
        "moved": (FP16, None, FP16),
        "values": (FP16, None, FP16),
        "after": (FP16, None, FP16),
    }
    assert plan["softmax"].reason == "Softmax: exponentials and their sum in fp32"
    assert plan["scaled"].reason == "scale or mask of the scores that Softmax softmax normalises"
    assert plan["scores"].reason == (
        "product of an attention: the fused kernel sums in fp32 by itself, and Casts at its operands would break it up"
    )


def test_scores_that_do_not_fit_give_up_the_fused_kernel(decided):
    plan = decided(ATTENTION, s=30000.0)
    assert formats(plan["scores"]) == (FP32, None, FP32)
    assert plan["scores"].rule == "overflow"


def test_a_classifier_is_no_attention(decided):
    plan = decided("""
    classify (float[B, 4] x) => (float[B, 4] y) <float[4, 4] w = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}> {
        [dense] h = MatMul(x, w) [softmax] y = LogSoftmax(h)
    }
    """)
    assert formats(plan["dense"]) == (FP16, FP32, FP16)
    assert formats(plan["softmax"]) == (FP32, None, FP32)


def test_a_residual_stream_is_not_taken_for_scores(decided):
    plan = decided("""
    g (float[2, 4] x) => (float[2, 4] y, float[2, 4] z)
        <float[4, 4] w = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}> {
        [dense] h = MatMul(x, w) [residual] r = Add(x, h) [softmax] y = Softmax(r) [other] z = Neg(r)
    }
    """)
    assert plan["residual"].rule == "default"
