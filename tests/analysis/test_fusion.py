import pytest

from pipeline.analysis.delivery import fusion
from pipeline.core.artifacts import FusionBaseline, Kernel, PlanText
from tests import encoder

SOFTMAX_ALONE = f"""{encoder.HEAD}
g (float[batch, 8] x, float[8, 8] w) => (float[batch, 8] y) {{
    [scores] s = MatMul(x, w)
    [softmax] y = Softmax(s)
}}
"""

CLASSIFIER = f"""{encoder.HEAD}
g (float[batch, 8] x) => (float[batch, 4] y) {{
    [scores] s = MatMul(x, wa)
    [softmax] p = Softmax(s)
    [head] y = MatMul(p, wb)
}}
"""


def text(*kernels):
    return PlanText(version="1.7.1.116", targets=("8.9",), kernels=kernels)


def fused(*nodes):
    return Kernel(kind="function", name="_gemm_mha_v2", nodes=nodes)


def baseline(plan, reason=None):
    return FusionBaseline(attentions=1, target="8.9", plan=plan, reason=reason)


WHOLE = text(fused("scores", "scale", "masked", "softmax", "context"))
SPLIT = text(
    Kernel(kind="fully_connected", name="a", nodes=("scores",)),
    Kernel(kind="function", name="b", nodes=("scale", "masked", "softmax")),
    Kernel(kind="fully_connected", name="c", nodes=("context",)),
)


@pytest.mark.parametrize("graph", [encoder.fp32, encoder.mixed])
def test_attention_is_found_with_and_without_casts(graph):
    assert fusion.attention_cores(graph().graph) == (
        fusion.AttentionCore(scores="scores", softmax="softmax", values="context"),
    )


@pytest.mark.parametrize("text", [SOFTMAX_ALONE, CLASSIFIER])
def test_a_softmax_that_is_no_attention_is_not_counted(text):
    weights = {name: encoder.random((8, size)) for name, size in (("wa", 8), ("wb", 4)) if name in text}
    assert fusion.attention_cores(encoder.parse(text, weights).graph) == ()


def test_a_plan_that_keeps_every_fusion_passes():
    check = fusion.check(encoder.mixed().graph, WHOLE, baseline(WHOLE))
    assert (check.passed, check.problems, check.unobservable) == (True, (), ())
    assert check.summary == (
        "1 kernels, 5.0 nodes a kernel, 1 of 1 attentions fused; all-low plan: 1 kernels, 1 fused attentions"
    )


def test_a_lost_fusion_fails_and_is_named():
    check = fusion.check(encoder.mixed().graph, SPLIT, baseline(WHOLE))
    assert not check.passed
    assert check.problems == ("softmax: this attention is not one kernel",)


def test_what_the_all_low_plan_does_not_fuse_either_is_said():
    check = fusion.check(encoder.mixed().graph, SPLIT, baseline(SPLIT))
    assert check.passed
    assert check.unobservable == ("softmax: not one kernel, nor in the all-low plan",)


def test_without_a_baseline_nothing_is_claimed():
    check = fusion.check(encoder.mixed().graph, SPLIT, baseline(None, "no such plan"))
    assert (check.passed, check.summary) == (True, "3 kernels, 1.7 nodes a kernel, 0 of 1 attentions fused")
    assert check.unobservable == ("whether marking lost a fusion: there is no all-low plan (no such plan)",)


def test_without_a_readable_plan_nothing_is_claimed():
    check = fusion.check(encoder.mixed().graph, None, baseline(WHOLE))
    assert (check.passed, check.summary) == (True, "not observed")
    assert check.unobservable == ("which attentions are fused: this plan's text cannot be read",)
