"""Policies: what each starts from, who has the last word, and what data movement and accumulators make of it."""

from pathlib import Path

import pytest

from pipeline.core.errors import PrecisionError, SpecError
from pipeline.core.formats import Format
from pipeline.core.spec import Policy, PrecisionSpec
from pipeline.precision.policy import policies, policy_file
from pipeline.precision.rules import RULES

FP32, FP16, BF16 = Format.FP32, Format.FP16, Format.BF16

NET = """
net (float[B, 2] x, int64[2] shape) => (float[B, 2] y)
    <float[2, 2] w = {1, 2, 3, 4}, float[2] one = {1, 1}> {
    [first] h = MatMul(x, w)
    [bias] b = Add(h, one)
    [move] r = Reshape(b, shape)
    [norm] n = LayerNormalization(r, one, one)
    [second] g = MatMul(n, w)
    [act] y = Sigmoid(g)
}
"""


def formats(plan):
    return {name: (item.operands, item.accumulator, item.result) for name, item in plan.items()}


def test_sensitive_rounds_what_no_rule_claims(decided):
    assert formats(decided(NET)) == {
        "first": (FP16, FP32, FP16),
        "bias": (FP16, None, FP16),
        "move": (FP16, None, FP16),
        "norm": (FP32, None, FP32),
        "second": (FP16, FP32, FP16),
        "act": (FP16, None, FP16),
    }


@pytest.mark.parametrize(("policy", "format_"), [(Policy.ALL_FP16, FP16), (Policy.ALL_FP32, FP32)])
def test_uniform_policies_ask_no_rule_and_fix_no_accumulator(decided, policy, format_):
    plan = decided(NET, spec=PrecisionSpec(policy=policy), h=1e9)
    assert set(formats(plan).values()) == {(format_, None, format_)}
    assert {item.reason for item in plan.values()} == {f"policy {policy}"}


def test_bf16_is_the_low_format_where_the_spec_says_so(decided):
    plan = decided(NET, spec=PrecisionSpec(low=BF16))
    assert formats(plan)["first"] == (BF16, FP32, BF16)


def test_accumulators_are_free_where_the_spec_says_so(decided):
    plan = decided(NET, spec=PrecisionSpec(accumulator=FP16))
    assert formats(plan)["first"] == (FP16, None, FP16)


CONVOLUTIONS = {
    "conv": "g (float[1, 2, 4] x) => (float[1, 2, 4] y) <float[2, 2, 1] k = {1, 2, 3, 4}> { [n] y = Conv(x, k) }",
    "transposed": """
    g (float[1, 2, 4] x) => (float[1, 2, 4] y) <float[2, 2, 1] k = {1, 2, 3, 4}> { [n] y = ConvTranspose(x, k) }
    """,
}


@pytest.mark.parametrize("text", CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_the_accumulator_of_a_convolution_is_left_to_tensorrt(decided, text):
    plan = decided(text)
    assert formats(plan)["n"] == (FP16, None, FP16)
    assert plan["n"].reason == (
        "no rule asks for more than fp16: magnitudes up to 4; TensorRT takes the accumulator of a convolution itself: "
        "Casts at its operands do not change it"
    )


def test_a_convolution_that_onnx_does_not_type_low_sums_in_fp32(decided):
    plan = decided(CONVOLUTIONS["conv"], spec=PrecisionSpec(low=BF16))
    assert formats(plan)["n"] == (BF16, FP32, BF16)


def test_every_reason_of_the_default_names_the_figure(decided):
    plan = decided(NET, h=12.5)
    assert plan["first"].reason == (
        "no rule asks for more than fp16: magnitudes up to 12.5; sums in fp32, which fp16 operands alone do not promise"
    )


def test_patterns_have_the_last_word_fp16_after_fp32(decided):
    plan = decided(NET, spec=PrecisionSpec(fp32=("first", "act"), fp16=("norm", "act")))
    assert formats(plan)["first"] == (FP32, None, FP32)
    assert formats(plan)["norm"] == (FP16, None, FP16)
    assert formats(plan)["act"] == (FP16, None, FP16)
    assert plan["first"].rule == "user"
    assert plan["first"].reason == "engines/tiny/engine.toml: precision.fp32 names it with 'first'"


def test_a_pattern_that_matches_nothing_is_an_error_with_the_nearest_names(decided):
    with pytest.raises(PrecisionError) as caught:
        decided(NET, spec=PrecisionSpec(fp32=("first", "norms")))
    assert str(caught.value) == (
        "engines/tiny/engine.toml: precision.fp32[1]: no node or module matches 'norms'\n"
        "  hint: nearest nodes of this model are norm, first; `trt-pipeline inspect` lists all"
    )


def test_a_pattern_for_fp16_that_reaches_only_what_has_no_fp16_is_an_error(decided):
    integers = """net (float[B, 2] x) => (int64[2] y) { [moved] m = Neg(x)\n [shape] y = Shape(m) }"""
    with pytest.raises(PrecisionError) as caught:
        decided(integers, spec=PrecisionSpec(fp16=("moved", "shape")))
    assert str(caught.value) == (
        "engines/tiny/engine.toml: precision.fp16: none of the nodes that 'shape' matches can compute in fp16\n"
        "  hint: they hold integers, are kept whole, or ONNX has no such types for them; "
        "`trt-pipeline inspect MODEL --decisions` gives each node's reason"
    )


def test_a_model_that_arrived_in_fp16_keeps_its_own_formats(decided):
    given = {"first": FP16, "bias": FP16, "move": FP16, "norm": FP16, "second": FP32, "act": FP32}
    plan = decided(NET, given=given, h=6e4)
    assert formats(plan) == {name: (kept, None, kept) for name, kept in given.items()}
    assert plan["norm"].reason == "the model arrived with this node in fp16"


def test_another_policy_overrides_what_the_model_arrived_with(decided):
    plan = decided(NET, given={"first": FP16}, spec=PrecisionSpec(policy=Policy.ALL_FP32))
    assert set(formats(plan).values()) == {(FP32, None, FP32)}


def test_control_flow_is_fp32_under_every_policy(graph):
    model = graph("""
    branch (float[2] x, bool c) => (float[2] y) {
        [if] y = If (c) <
            then_branch = then () => (float[2] t) { t = Neg(x) }, else_branch = else () => (float[2] e) { e = Abs(x) }
        >
    }
    """)
    (item,) = policies.uniform(model, FP16)
    assert (item.result, item.rule) == (FP32, "control")
    assert item.reason == "If is kept whole: what it holds was not observed node by node"


def test_shapes_and_indices_have_no_format(decided):
    plan = decided("g (float[B, 2] x) => (int64[2] y) { [shape] s = Shape(x) [double] y = Add(s, s) }")
    assert set(formats(plan).values()) == {(None, None, None)}


def test_data_that_is_read_in_fp32_moves_in_fp32(decided):
    plan = decided("""
    g (float[B, 2] x) => (float[B, 2] y, float[B, 2] z)
        <float[2] one = {1, 1}, float[2, 2] w = {1, 2, 3, 4}> {
        [norm] n = LayerNormalization(x, one, one)
        [kept] a = Identity(n)
        [again] y = LayerNormalization(a, one, one)
        [narrowed] b = Identity(n)
        [product] p = MatMul(b, w)
        [act] z = Sigmoid(p)
    }
    """)
    assert formats(plan)["kept"] == (FP32, None, FP32)
    assert formats(plan)["narrowed"] == (FP16, None, FP16)
    assert plan["kept"].reason == "moves fp32 data that is read in fp32"


def test_an_embedding_is_stored_low(decided):
    plan = decided("""
    g (int64[B] ids) => (float[B, 2] y) <float[2, 2] table = {1, 2, 3, 4}, float[2] one = {1, 1}> {
        [look] e = Gather(table, ids) [norm] y = LayerNormalization(e, one, one)
    }
    """)
    assert formats(plan)["look"] == (FP16, None, FP16)


RECURRENT = """
g (float[1, B, 2] x, float[B, 2] state, int64[1] rate) => (float[B, 2] y, float[1, B, 2] next)
    <int64[1] zero = {0}, int64[1] four = {4}, int64[1] six = {6},
     float[6, 2] wide = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3},
     float[1, 6, 2] r = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}, float[2, 2] w = {1, 2, 3, 4}> {
    [lift] h = Unsqueeze(state, zero)
    [tail] b = Slice(wide, four, six, zero)
    [head] a = Slice(wide, zero, four, zero)
    [join] c = Concat <axis = 0> (b, a)
    [weights] u = Unsqueeze(c, zero)
    [gru] seq, last = GRU <hidden_size = 2> (x, u, r, , , h)
    [flat] f = Squeeze(last, zero)
    [again] l = Unsqueeze(f, zero)
    [nothing] n = Mul(rate, zero)
    [number] v = Cast <to = 1> (n)
    [add] next = Add(l, v)
    [out] y = MatMul(f, w)
}
"""


def test_weights_and_states_of_a_recurrence_are_moved_in_fp32(decided):
    plan = formats(decided(RECURRENT))
    assert {plan[name] for name in ("tail", "head", "join", "weights")} == {(FP32, None, FP32)}
    assert {plan[name] for name in ("lift", "gru", "flat", "again", "add")} == {(FP32, None, FP32)}
    assert plan["number"] == (None, None, FP32)
    assert plan["out"][:2] == (FP16, FP32)


def test_moved_weights_are_stored_low_where_something_reads_them_so(decided):
    plan = decided("""
    g (float[B, 2] x) => (float[B, 4] y) <float[2, 2] w = {1, 2, 3, 4}> {
        [join] both = Concat <axis = 1> (w, w) [product] p = MatMul(x, both) [act] y = Sigmoid(p)
    }
    """)
    assert formats(plan)["join"] == (FP16, None, FP16)


def test_a_policy_file_switches_rules_and_adds_patterns(decided, tmp_path):
    (tmp_path / "mine.toml").write_text('fp32 = ["second"]\n[rules]\nnorm = false\n')
    plan = decided(NET, spec=PrecisionSpec(policy="mine.toml"), folder=tmp_path)
    assert formats(plan)["norm"] == (FP16, None, FP16)
    assert formats(plan)["second"] == (FP32, None, FP32)


def test_a_policy_file_may_start_from_all_fp16_and_ask_single_rules(decided, tmp_path):
    (tmp_path / "mine.toml").write_text('default = "all-fp16"\n[rules]\nnorm = true\n')
    plan = decided(NET, spec=PrecisionSpec(policy="mine.toml"), folder=tmp_path)
    assert {name for name, item in plan.items() if item.operands is FP32} == {"norm"}
    assert plan["first"].accumulator is None


def test_every_mistake_in_a_policy_file_is_named(tmp_path):
    folder = tmp_path / "engines" / "tiny"
    folder.mkdir(parents=True)
    (folder / "bad.toml").write_text('defaults = 1\ndefault = "all-fp"\nfp32 = "x"\n[rules]\nnorms = true\nnorm = 1\n')
    with pytest.raises(SpecError) as caught:
        policy_file.settings(PrecisionSpec(policy="bad.toml"), folder)
    assert str(caught.value) == (
        "engines/tiny/bad.toml: defaults: unknown key; did you mean 'default'?\n"
        "  default: found 'all-fp', expected one of sensitive, all-fp16, all-fp32; did you mean 'all-fp32'?\n"
        "  fp32: found 'x', expected a list of patterns\n"
        "  rules.norms: unknown rule; did you mean 'norm'?\n"
        "  rules.norm: found 1, expected true or false"
    )


def test_a_missing_policy_file_is_an_error():
    with pytest.raises(SpecError) as caught:
        policy_file.settings(PrecisionSpec(policy="sensitiv"), Path("/nowhere/engines/tiny"))
    assert str(caught.value) == (
        "engines/tiny/sensitiv: no such policy file\n"
        "  hint: a policy is one of sensitive, all-fp16, all-fp32, search, or a TOML file beside engine.toml"
    )


def test_rules_are_asked_in_their_order():
    assert policy_file.settings(PrecisionSpec(), Path("engines/tiny")).rules == tuple(RULES)


POOLED = """
g (float[1, 2, 4] x) => (float[1, 2, 4] y) <float[2, 2, 1] w = {1, 2, 3, 4}> {
    [conv] h = Conv(x, w) [pool] p = MaxPool <kernel_shape = [1]> (h) [again] y = Conv(p, w)
}
"""


def test_what_onnx_does_not_type_low_is_fp32_but_a_sum_may_round_its_operands(decided):
    plan = decided(POOLED, spec=PrecisionSpec(low=BF16))
    assert formats(plan) == {"conv": (BF16, FP32, BF16), "pool": (FP32, None, FP32), "again": (BF16, FP32, BF16)}
    assert plan["pool"].reason == "ONNX opset 20 has no bf16 MaxPool"


def test_at_a_newer_opset_it_is_low(decided):
    assert formats(decided(POOLED, opset=22, spec=PrecisionSpec(low=BF16)))["pool"] == (BF16, None, BF16)
