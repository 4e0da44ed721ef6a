"""The plans of a search: one after another from the same space, each as if it were the only one."""

import dataclasses
from pathlib import Path

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.artifacts import Basis
from pipeline.core.formats import Format
from pipeline.core.spec import PrecisionSpec
from pipeline.precision import evidence
from pipeline.precision.costing.cost import CostModel
from pipeline.precision.policy import policies, policy_file, search_space
from pipeline.precision.rules import Claim
from tests.precision.conftest import parse, ranges

NET = """
net (float[B, 4] x, float[4, 4] w, float[4] gain) => (float[B, 4] y) {
    thousand = Constant <value_float = 1000.0> ()
    [first] a = MatMul(x, w)
    [turn] t = Transpose <perm = [0, 1]> (a)
    [norm] n = LayerNormalization <axis = -1> (t, gain)
    [gate] g = Tanh(n)
    [loud] l = Mul(a, thousand)
    [soft] p = Softmax(g)
    [mean] m = ReduceMean <keepdims = 1> (p)
    [add] s = Add(m, p)
    [user] u = Sigmoid(s)
    [last] y = MatMul(u, w)
}
"""
NODES = ("add", "first", "gate", "last", "mean", "norm", "soft")


def space():
    model = parse(NET)
    observed = ranges(model, l=1e5)
    spec = PrecisionSpec(fp32=("user",))
    policy = policy_file.settings(spec, Path("engines/tiny"))
    return search_space.of(evidence.gather(model, observed, spec), policy, observed, {})


@pytest.fixture(scope="module")
def shared():
    return space()


plans = st.sets(st.sampled_from(NODES)).map(frozenset)


def test_what_range_or_the_user_keeps_is_no_candidate(shared):
    assert sorted(item.node for item in shared.candidates) == sorted(NODES)
    assert {item.node: item.rule for item in shared.kept} == {"loud": "overflow", "user": "user"}


@settings(max_examples=60, deadline=None)
@given(wide=plans, before=plans)
def test_a_plan_does_not_depend_on_those_that_were_asked_for_before(shared, wide, before):
    shared.formats(before)
    shared.decisions(before, dict.fromkeys(before, "earlier"))
    alone = space()
    assert shared.decisions(wide) == alone.decisions(wide)
    assert shared.formats(wide) == alone.formats(wide)


@settings(max_examples=60, deadline=None)
@given(wide=plans)
def test_a_plan_is_priced_and_tried_as_it_is_decided(shared, wide):
    """`formats` says the same of every node as `decisions`, but what the decision rests on; so they cost the same."""
    ungrounded = {"basis": Basis.RULE, "margin": None, "bound": None}
    decided = shared.decisions(wide)
    assert shared.formats(wide) == tuple(dataclasses.replace(item, **ungrounded) for item in decided)
    costs = CostModel(shared.evidence.model, sizes={"B": 8})
    assert costs.of(shared.formats(wide)) == costs.of(decided)


@settings(max_examples=60, deadline=None)
@given(wide=plans)
def test_a_plan_is_what_the_policy_decides_with_claims_for_what_is_wide(shared, wide):
    """Against a decider that is made for this plan alone, its rules' claims and the plan's in one list."""
    nodes: dict[str, ir.Node] = {str(node.name): node for node in shared.evidence.rows}
    kept = [
        claim for claim in policies.asked(shared.evidence, shared.settings) if claim[0] not in search_space.SEARCHED
    ]
    added = [
        ("search", Claim(node=nodes[name], reason="the error budget asks for it")) for name in nodes if name in wide
    ]
    alone = policies.Decider(shared.evidence, shared.settings, {}, [*kept, *added])
    assert shared.decisions(wide) == alone.decisions()
    assert {item.node for item in alone.decisions() if item.operands is Format.FP32} >= wide
