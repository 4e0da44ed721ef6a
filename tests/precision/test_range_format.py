"""bf16 where range, not precision, keeps a node out of fp16."""

from pathlib import Path

import pytest

from pipeline.core.errors import PrecisionError, SpecError
from pipeline.core.formats import Format
from pipeline.core.spec import PrecisionSpec
from pipeline.precision.policy import policy_file

FP32, FP16, BF16 = Format.FP32, Format.FP16, Format.BF16
WIDE = PrecisionSpec(range_format=BF16)

STREAM = """
stream (float[4, 1] x) => (float[4, 1] y)
<float[1, 1] w = {1.0}, float[1] gain = {1.0}> {
    [first] a = Neg(x)
    [add] r = Add(a, x)
    [copy] c = Identity(r)
    [tanh] t = Tanh(c)
    [product] p = MatMul(t, w)
    [last] y = Mul(p, gain)
}
"""


def formats(plan):
    return {name: (item.operands, item.accumulator, item.result) for name, item in plan.items()}


def test_what_overflows_is_bf16_and_its_movement_and_reader_with_it(decided):
    plan = formats(decided(STREAM, spec=WIDE, r=9e5, c=9e5))
    assert plan["first"] == (FP16, None, FP16)
    assert plan["add"] == plan["copy"] == (BF16, None, BF16)
    assert plan["tanh"] == (BF16, None, FP16)


def test_the_reason_says_that_bf16_holds_it(decided):
    plan = decided(STREAM, spec=WIDE, r=9e5, c=9e5)
    assert plan["add"].reason == (
        "r reached 9e+05 in calibration; with a margin of 4 that is beyond fp16's 65504; bf16 holds it"
    )


def test_by_default_it_is_fp32(decided):
    plan = formats(decided(STREAM, r=9e5, c=9e5))
    assert plan["add"] == (FP32, None, FP32)


def test_a_product_that_overflows_multiplies_bf16_and_sums_in_fp32(decided):
    plan = formats(decided(STREAM, spec=WIDE, p=9e5))
    assert plan["product"] == (BF16, FP32, BF16)
    assert plan["last"][0] is BF16


def test_what_bf16_cannot_hold_either_is_fp32(decided):
    plan = formats(decided(STREAM, spec=WIDE, r=3e38, c=3e38))
    assert plan["add"] == (FP32, None, FP32)


def test_what_onnx_has_no_bf16_for_is_fp32(decided):
    assert formats(decided(STREAM, opset=17, spec=WIDE, p=9e5))["product"] == (BF16, FP32, BF16)
    convolution = """
        c (float[1, 1, 4] x) => (float[1, 1, 4] y) <float[1, 1, 1] w = {1.0}> {
            [first] a = Neg(x)
            [conv] b = Conv(a, w)
            [last] y = Neg(b)
        }
    """
    assert formats(decided(convolution, spec=WIDE, b=9e5))["conv"] == (FP32, None, FP32)


def test_precision_outranks_range(decided):
    norm = """
        n (float[2, 1] x) => (float[2, 1] y) <float[1] gain = {1.0}> {
            [norm] n = LayerNormalization(x, gain)
            [last] y = Neg(n)
        }
    """
    assert formats(decided(norm, spec=WIDE, x=9e5))["norm"][0] is FP32


def test_a_tensor_lost_to_underflow_is_a_matter_of_range_too(decided, seen):
    small = seen(1e-9, low=1e-10, lost=100)
    plan = decided(STREAM, spec=WIDE, a=small)
    assert formats(plan)["first"] == (BF16, None, BF16)


def test_patterns_ask_for_bf16_and_fp16_patterns_come_last(decided):
    plan = decided(STREAM, spec=PrecisionSpec(bf16=("tanh", "product"), fp16=("product",)))
    assert formats(plan)["tanh"] == (BF16, None, BF16)
    assert formats(plan)["product"] == (FP16, FP32, FP16)
    assert plan["tanh"].reason == "engines/tiny/engine.toml: precision.bf16 names it with 'tanh'"


def test_a_bf16_pattern_that_matches_nothing_is_an_error(decided):
    with pytest.raises(PrecisionError) as error:
        decided(STREAM, spec=PrecisionSpec(bf16=("tahn",)))
    assert error.value.where == "engines/tiny/engine.toml: precision.bf16[0]"


def test_a_policy_file_names_bf16_patterns(tmp_path: Path):
    (tmp_path / "mine.toml").write_text('default = "sensitive"\nbf16 = ["add"]\n')
    found = policy_file.settings(PrecisionSpec(policy="mine.toml"), tmp_path)
    assert found.bf16[0].patterns == ("add",)


def test_a_policy_file_with_a_wrong_bf16_key_is_an_error(tmp_path: Path):
    (tmp_path / "mine.toml").write_text('bf16 = "add"\n')
    with pytest.raises(SpecError, match="bf16: found 'add', expected a list of patterns"):
        policy_file.settings(PrecisionSpec(policy="mine.toml"), tmp_path)


def test_a_whole_model_in_bf16_keeps_what_precision_needs(decided):
    plan = formats(decided(STREAM, spec=PrecisionSpec(low=BF16), r=9e5, c=9e5))
    assert plan["add"] == (BF16, None, BF16)
    assert plan["product"] == (BF16, FP32, BF16)
