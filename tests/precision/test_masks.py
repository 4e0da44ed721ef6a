"""Masks that fp16 cannot hold: what stands for them there acts the same, or is refused with the reason."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Basis
from pipeline.core.formats import Format
from pipeline.core.spec import PrecisionSpec
from pipeline.graph import correspondence
from pipeline.precision import casts, evidence, masks
from pipeline.precision.bounds import Given
from pipeline.precision.emulation.emulate import emulate
from pipeline.precision.emulation.switch import FLAGS, switched
from pipeline.precision.policy import policies, policy_file, search_space
from pipeline.precision.reducers.side_by_side import merge
from tests.precision.conftest import observed, parse, ranges

LOWEST = float(np.finfo(np.float32).min)

ATTENTION = """
attention (float[B, S, 4] q, float[B, S, 4] k, float[B, S, 4] v, {inputs}) => ({outputs})
    <float zero = {{0}}, float one = {{1}}, float lowest = {{{lowest}}}, float other = {{{other}}},
     int64[1] rows = {{1}}>
{{
    [keys] kt = Transpose <perm = [0, 2, 1]> (k)
    [scores] s = MatMul(q, kt)
    {mask}
    [softmax] p = Softmax(t)
    [values] y = MatMul(p, v)
}}
"""

FORMS = {
    "selected": "[fill] w = Where(m, zero, lowest) [mask] b = Unsqueeze(w, rows) [add] t = Add(s, b)",
    "multiplied": "[float] f = Cast <to = 1> (m) [invert] i = Sub(one, f) [fill] w = Mul(i, lowest) "
    "[mask] b = Unsqueeze(w, rows) [add] t = Add(b, s)",
    "overwritten": "[mask] b = Unsqueeze(m, rows) [add] t = Where(b, s, lowest)",
}


def attention(form, *, lowest=LOWEST, other=0.0, inputs="bool[B, S] m", outputs="float[B, S, 4] y"):
    text = FORMS.get(form, form)
    return parse(ATTENTION.format(inputs=inputs, outputs=outputs, lowest=f"{lowest!r}", other=f"{other!r}", mask=text))


def gathered(model, *, scores=50.0, spec=None, given=None):
    """What is known of `model` where no sample was masked."""
    seen = ranges(model, s=scores, t=scores, w=observed(0.0), b=observed(0.0), i=observed(0.0))
    return evidence.gather(model, seen, spec or PrecisionSpec(), given), seen


def freed(model, **known):
    """Decisions of the plan that has in fp32 only what has to be."""
    seen, observed_ranges = gathered(model, **known)
    space = search_space.of(seen, policy_file.settings(seen.spec, Path("engines/tiny")), observed_ranges, {})
    return space.decisions(())


def refusal(model, **known):
    """Why the masked Softmax of `model` stays fp32."""
    by_node = {item.node: item for item in freed(model, **known)}
    assert by_node["softmax"].operands is Format.FP32
    assert not any(item.floors for item in by_node.values())
    return by_node["softmax"].reason.partition("; not held in range: ")[2]


def feeds(valid, scale=2.0):
    random = np.random.default_rng(1)
    shape = (*np.shape(valid), 4)
    return {name: (scale * random.normal(size=shape)).astype(np.float32) for name in "qkv"} | {"m": np.array(valid)}


ADVERSARIAL = {
    "nothing masked": [[True] * 6] * 2,
    "one valid key": [[False, False, True, False, False, False]] * 2,
    "padding": [[True] * 6, [True, True, False, False, False, False]],
    "nothing valid": [[True] * 6, [False] * 6],
}


@pytest.mark.parametrize("form", FORMS)
def test_mask_and_softmax_are_freed_and_rest_on_what_was_seen(form):
    plan = {item.node: item for item in freed(attention(form))}
    assert (plan["add"].operands, plan["add"].result) == (Format.FP16, Format.FP16)
    assert (plan["softmax"].operands, plan["softmax"].result) == (Format.FP16, Format.FP16)
    assert plan["add"].basis is Basis.SAMPLES
    assert plan["add"].reason.endswith(
        "masked scores are held at -32768, which gives the same probabilities: "
        "samples, with the margin, keep the others in range"
    )
    if form != "overwritten":
        assert (plan["fill"].rule, plan["fill"].result) == ("constant", Format.FP32)


def test_what_bounds_show_is_proof():
    model = attention("selected")
    small = Given(inputs=dict.fromkeys("qkv", (-2.0, 2.0)), axes={"B": 2, "S": 8})
    seen, known = gathered(model, scores=1.0, given=small)
    space = search_space.of(seen, policy_file.settings(seen.spec, Path("engines/tiny")), known, {})
    add = next(item for item in space.decisions(()) if item.node == "add")
    assert add.basis is Basis.PROOF
    assert 49152 + 16 <= add.bound <= 49152 + 17


@pytest.mark.parametrize("policy", ["sensitive", "all-fp16", "all-fp32"])
def test_policies_that_decide_without_it_are_left_as_they_were(policy):
    seen, _ = gathered(attention("selected"), spec=PrecisionSpec(policy=policy))
    plan = policies.decide(seen, policy_file.settings(seen.spec, Path("engines/tiny")), {})
    assert not any(item.floors for item in plan)


@pytest.mark.parametrize("low", [Format.FP16, Format.BF16])
@pytest.mark.parametrize("case", ADVERSARIAL)
@pytest.mark.parametrize("form", FORMS)
def test_masked_rows_are_what_fp32_makes_of_them(form, case, low):
    reference, mixed = attention(form), attention(form)
    plan = freed(mixed, spec=PrecisionSpec(low=low))
    casts.apply(mixed, plan)
    given = feeds(ADVERSARIAL[case])
    expected, found = (Session(model, as_written=True)(given)["y"] for model in (reference, emulate(mixed)))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, atol=0.02 if low is Format.FP16 else 0.2)
    if case == "nothing valid":
        mean = given["v"][1].mean(axis=0)
        np.testing.assert_allclose(
            found[1], np.broadcast_to(mean, found[1].shape), atol=0.002 if low is Format.FP16 else 0.02
        )


CAUSAL = {
    "added": "[row] r = Unsqueeze(m, rows) [both] a = And(r, c) [fill] w = Where(a, zero, lowest) [add] t = Add(s, w)",
    "overwritten": "[row] r = Unsqueeze(m, rows) [both] a = And(r, c) [add] t = Where(a, s, lowest)",
}


@pytest.mark.parametrize("form", CAUSAL)
def test_left_padded_rows_of_a_causal_attention_have_no_valid_key_and_stay_uniform(form):
    inputs = "bool[B, S] m, bool[S, S] c"
    reference, mixed = attention(CAUSAL[form], inputs=inputs), attention(CAUSAL[form], inputs=inputs)
    casts.apply(mixed, freed(mixed))
    given = feeds([[False, False, False, True, True, True]]) | {"c": np.tri(6, dtype=bool)}
    expected, found = (Session(model, as_written=True)(given)["y"] for model in (reference, emulate(mixed)))
    np.testing.assert_allclose(found, expected, atol=0.02)
    np.testing.assert_allclose(found[0, 0], given["v"][0].mean(axis=0), atol=0.002)


@pytest.mark.parametrize("named", [{"fp16": ("add", "softmax")}, {"fp16": ("fill", "mask", "add")}, {"bf16": ("add",)}])
def test_a_user_may_ask_for_it(named):
    reference, mixed = attention("selected"), attention("selected")
    seen, _ = gathered(mixed, spec=PrecisionSpec(**named))
    plan = policies.decide(seen, policy_file.settings(seen.spec, Path("engines/tiny")), {})
    casts.apply(mixed, plan)
    given = feeds(ADVERSARIAL["nothing valid"])
    expected, found = (Session(model, as_written=True)(given)["y"] for model in (reference, emulate(mixed)))
    np.testing.assert_allclose(found, expected, atol=0.2 if "bf16" in named else 0.02)


@pytest.mark.parametrize("wide", [("add",), ("softmax",), ("add", "softmax")])
def test_any_part_of_it_may_be_fp32(wide):
    reference, mixed = attention("selected"), attention("selected")
    seen, known = gathered(mixed)
    space = search_space.of(seen, policy_file.settings(seen.spec, Path("engines/tiny")), known, {})
    casts.apply(mixed, space.decisions(wide))
    given = feeds(ADVERSARIAL["nothing valid"])
    expected, found = (Session(model, as_written=True)(given)["y"] for model in (reference, emulate(mixed)))
    np.testing.assert_allclose(found, expected, atol=0.02)


def test_a_search_tries_what_is_converted():
    mixed = attention("selected")
    plan = freed(mixed)
    switch = switched(attention("selected"), plan)
    casts.apply(mixed, plan)
    given = feeds(ADVERSARIAL["nothing valid"])
    tried = Session(switch.model, as_written=True)({**given, FLAGS: switch.flags(plan)})["y"]
    np.testing.assert_array_equal(tried, Session(emulate(mixed), as_written=True)(given)["y"])


fp16 = st.floats(-masks.LARGEST_SCORE, masks.LARGEST_SCORE, width=16)


@settings(max_examples=200, deadline=None)
@given(scores=st.lists(fp16, min_size=1, max_size=8), data=st.data())
def test_held_masks_are_exact(scores, data):
    """In fp16 arithmetic: valid scores keep their bits, masked ones are one number, and their probabilities are 0."""
    valid = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    score = np.array(scores, np.float16)
    total = score + np.where(valid, 0.0, masks.ENTERS).astype(np.float16)
    assert np.isfinite(total).all()
    held = np.maximum(total, np.float16(masks.MASKED))
    np.testing.assert_array_equal(held, np.where(valid, score, np.float16(masks.MASKED)))
    exact = np.exp(held.astype(np.float32) - held.astype(np.float32).max())
    reference = score.astype(np.float32) + np.where(valid, np.float32(0), np.float32(LOWEST))
    np.testing.assert_array_equal(exact, np.exp(reference - reference.max()))


@settings(max_examples=200, deadline=None)
@given(score=st.floats(-masks.LARGEST_SCORE, masks.LARGEST_SCORE, width=32), deep=st.floats(2.0**41, -LOWEST, width=32))
def test_what_a_huge_number_absorbs_changes_nothing_in_fp32(score, deep):
    if abs(score) <= masks.ABSORBS * deep:
        assert np.float32(score) + np.float32(-deep) == np.float32(-deep)


SEVERAL = "[first] w = Where(m, zero, lowest) [second] x = Where(m, zero, other) "
REFUSED = [
    (
        "[fill] w = Where(m, zero, lowest) [mask] b = Unsqueeze(w, rows) [add] u = Add(s, b) [twice] t = Mul(u, other)",
        {"other": 0.5},
        "Mul twice stands between the mask and its Softmax",
    ),
    (
        SEVERAL + "[both] z = Add(w, x) [mask] b = Unsqueeze(z, rows) [add] t = Add(s, b)",
        {"other": LOWEST},
        "Add both takes part in the mask",
    ),
    (
        SEVERAL + "[both] z = Where(m, w, x) [mask] b = Unsqueeze(z, rows) [add] t = Add(s, b)",
        {"other": -1e30},
        "masks of -3.4e+38 and -1e+30 meet, and rows of both tell them apart",
    ),
    (
        FORMS["selected"],
        {"lowest": -1e9},
        "-1e+09 does not absorb scores of 200, so rows without a valid key differ",
    ),
    (FORMS["multiplied"], {"inputs": "float[B, S] m"}, "Mul fill has no factor that can only be 0 or 1"),
    (FORMS["multiplied"], {"inputs": "int64[B, S] m"}, "Mul fill has no factor that can only be 0 or 1"),
    (
        FORMS["selected"],
        {"outputs": "float[B, S, 4] y, float[B, S, S] t"},
        "t is an output of the graph",
    ),
    (
        "[fill] w = Where(m, zero, lowest) [mask] b = Unsqueeze(w, rows) [add] t = Min(s, b)",
        {},
        "Min add is neither an Add nor a Where of scores and a mask",
    ),
    (
        "[fill] w = Where(m, zero, lowest) [mask] b = Unsqueeze(w, rows) [add] t = Where(c, s, b)",
        {"inputs": "bool[B, S] m, bool[S] c"},
        "Where add takes masked scores from b, which is no constant",
    ),
]


@pytest.mark.parametrize(("form", "changed", "why"), REFUSED)
def test_it_is_refused_with_the_reason(form, changed, why):
    assert refusal(attention(form, **changed)) == why


def test_scores_that_may_be_too_large_are_refused():
    assert refusal(attention("selected"), scores=4100.0) == (
        "s may reach 1.64e+04, and 16352 is the most beside a mask"
    )
    assert {item.node: item for item in freed(attention("selected"), scores=4000.0)}["softmax"].operands is Format.FP16


def test_integers_that_the_spec_calls_a_mask_are_0_or_1():
    model = attention("multiplied", inputs="int64[B, S] m")
    seen, _ = gathered(model, given=Given(inputs={"m": (0.0, 1.0)}))
    assert not seen.masks.refused
    assert seen.masks.held


def test_other_readers_of_the_scores_keep_them_fp32():
    form = FORMS["selected"] + " [other] z = Exp(t)"
    plan = {i.node: i for i in freed(attention(form, outputs="float[B, S, 4] y, float[B, S, S] z"))}
    assert (plan["add"].result, plan["softmax"].operands) == (Format.FP32, Format.FP32)


def test_comparisons_see_the_scores_and_not_the_masks():
    """-3.4e38 against -32768 is no difference; a score against a mask is."""
    reference, mixed = attention("selected"), attention("selected")
    fates = casts.apply(mixed, freed(mixed))
    fate = correspondence.lookup(fates, "t")
    assert (fate.now, fate.masked, fate.reason) == ("t", -16384.0, "masked elements are held at -32768, and count as 0")
    given = feeds(ADVERSARIAL["padding"])
    merged = merge(reference, emulate(mixed), fates)
    pair = next(item for item in merged.pairs if item.tensor == "t")
    merged.model.graph.outputs[:] = [pair.reference, pair.candidate]
    one, other = Session(merged.model, as_written=True)(given).values()
    masked = np.broadcast_to(~given["m"][:, None, :], one.shape)
    assert (one[masked] == 0).all()
    assert (other[masked] == 0).all()
    np.testing.assert_allclose(other[~masked], one[~masked], rtol=2e-3, atol=1e-2)
    assert np.abs(one[~masked]).min() > 0


def test_one_clamp_serves_all_readers():
    mixed = attention("selected")
    before = mixed.graph.num_nodes()
    casts.apply(mixed, freed(mixed))
    held = [node.name for node in mixed.graph if node.op_type == "Max"]
    assert held == ["hold::b::held", "hold::t"]
    assert mixed.graph.num_nodes() > before
    assert dataclasses.asdict(correspondence.lookup((), "b"))["masked"] is None
