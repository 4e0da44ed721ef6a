"""What a decision rests on: bounds, samples, a user's word, or a rule; and which ranges still grew."""

import math
from pathlib import Path

import pytest

from pipeline.core.artifacts import ActivationRanges, Basis, TensorRange
from pipeline.core.errors import CalibrationError
from pipeline.core.formats import Format
from pipeline.core.spec import AxisRange, InputSpec, PrecisionSpec
from pipeline.precision import evidence
from pipeline.precision.bounds import Given
from pipeline.precision.policy import growth, policies, policy_file

FOLDER = Path("engines/tiny")
NET = """
net (float[batch, 1] x, float[batch, 1] free) => (float[batch, 1] y)
<float[1] gain = {2.0}, float[1] huge = {-100000.0}> {
    [bounded] a = Tanh(x)
    [scaled] b = Mul(a, gain)
    [loose] c = Mul(free, gain)
    [join] d = Add(b, c)
    [shift] e = Add(d, huge)
    [last] y = Neg(b)
}
"""


def plan(decided, **more):
    return {name: item.basis for name, item in decided(NET, **more).items()}


def test_what_bounds_show_is_proof_and_the_rest_samples(decided):
    found = decided(NET, e=1e5)
    assert found["bounded"].basis is Basis.SAMPLES, "x itself may hold anything"
    assert (found["scaled"].basis, found["scaled"].bound) == (Basis.PROOF, pytest.approx(2.0, rel=0.01))
    assert found["loose"].basis is Basis.SAMPLES
    assert found["loose"].bound == math.inf
    assert found["loose"].margin == pytest.approx(32752.0)
    assert found["loose"].at_risk
    assert not found["scaled"].at_risk


def test_the_grounds_are_said_with_their_figures(decided):
    found = decided(NET, e=1e5, c=100.0, d=100.0)
    assert found["scaled"].grounds == "proof: at most 2 for any input"
    assert found["loose"].grounds == "samples: 655 times under the limit, no bound is known"
    assert found["shift"].grounds == "proof"


def test_a_range_that_the_spec_gives_makes_proof_of_samples(decided, graph, observe):
    spec = PrecisionSpec()
    model = graph(NET)
    given = Given.of(
        {name: InputSpec(dtype="float32", axes=("batch", 1), range=(-5.0, 5.0)) for name in ("x", "free")},
        {"batch": AxisRange(min=1, opt=1, max=4)},
    )
    seen = evidence.gather(model, observe(model, e=1e5), spec, given)
    found = {item.node: item for item in policies.decide(seen, policy_file.settings(spec, FOLDER), {})}
    assert found["loose"].basis is Basis.PROOF
    assert found["loose"].bound == pytest.approx(10.0, rel=0.01)


def test_samples_outside_the_range_that_the_spec_gives_are_an_error(graph, observe):
    model = graph(NET)
    with pytest.raises(CalibrationError) as error:
        evidence.gather(model, observe(model, free=6.0), PrecisionSpec(), Given(inputs={"free": (-5.0, 5.0)}))
    assert str(error.value.what) == "held -6 to 6 in calibration, and the spec says -5 to 5"
    assert error.value.where == "input free"


def test_patterns_and_policies_are_a_users_word(decided):
    assert plan(decided, spec=PrecisionSpec(fp16=("scaled",)), e=1e5)["scaled"] is Basis.USER
    assert plan(decided, spec=PrecisionSpec(fp32=("scaled",)), e=1e5)["scaled"] is Basis.USER
    assert set(plan(decided, spec=PrecisionSpec(policy="all-fp16")).values()) == {Basis.USER}


def test_fp32_by_a_constant_is_proof_and_by_an_observed_overflow_samples(decided):
    assert plan(decided, e=1e5)["shift"] is Basis.PROOF
    assert plan(decided, c=9e5)["loose"] is Basis.SAMPLES


def test_what_was_never_observed_has_no_margin(decided, graph):
    model = graph(NET)
    tensors = {v.name: TensorRange(low=-1, high=1, smallest=1e-3, elements=1) for v in model.graph.inputs}
    ranges = ActivationRanges(
        model="m", samples=1, low=Format.FP16, tensors=tensors, unobserved=dict.fromkeys("abcdey", "it was empty")
    )
    seen = evidence.gather(model, ranges, PrecisionSpec(policy="all-fp16"))
    settings = policy_file.settings(PrecisionSpec(policy="all-fp16"), FOLDER)
    found = {item.node: item for item in policies.decide(seen, settings, {})}
    assert (found["join"].margin, found["join"].bound) == (None, math.inf)


def grown(model, *, free=(5000.0, 6000.0)):
    tensors = {
        str(value.name): TensorRange(low=-1, high=1, smallest=1e-3, elements=1, history=(1.0, 1.0))
        for value in (*model.graph.inputs, *(v for node in model.graph for v in node.outputs))
    }
    for name in ("c", "d", "b"):
        tensors[name] = TensorRange(low=0, high=free[-1], smallest=1e-3, elements=1, history=free)
    ranges = ActivationRanges(model="m", samples=8, low=Format.FP16, tensors=tensors)
    seen = evidence.gather(model, ranges, PrecisionSpec())
    decisions = policies.decide(seen, policy_file.settings(PrecisionSpec(), FOLDER), {})
    return [(item.tensor, item.magnitudes, item.limit) for item in growth.growing(seen, decisions, ranges)]


def test_a_range_that_still_grew_near_the_limit_is_named_unless_it_is_proven(graph):
    model = graph(NET.replace("[shift] e = Add(d, huge)", "[shift] e = Neg(d)"))
    found = grown(model)
    assert ("c", (5000.0, 6000.0), 65504.0) in found
    assert "b" not in [tensor for tensor, *_ in found], "b is bounded by 2 for any input"


@pytest.mark.parametrize(
    "history",
    [
        (6000.0, 6000.0),  # did not grow
        (50.0, 60.0),  # far from the limit
        (6000.0,),  # one batch tells nothing
        (10.0, 5995.0, 5999.0, 6000.0),  # grew in the first half only
    ],
)
def test_other_ranges_are_not(graph, history):
    model = graph(NET.replace("[shift] e = Add(d, huge)", "[shift] e = Neg(d)"))
    assert grown(model, free=history) == []
