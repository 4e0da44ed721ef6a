"""What a plan costs: counted casts are those that convert inserts, and fewer bytes, FLOPs or casts cost less."""

import dataclasses
import math

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.formats import Format
from pipeline.precision import casts
from pipeline.precision.costing.cost import RESOLUTION, Cost, CostModel, Measurement
from pipeline.precision.costing.rates import RATES, of_targets
from pipeline.precision.policy import policies
from tests.precision.conftest import parse

BLOCK = """
block (float[batch, 16, 64] x, float[64, 64] wq, float[64, 64] wk, float[64, 64] wv, float[64, 64] wo, float[64] scale,
       float[64] shift) => (float[batch, 16, 64] y) {
    [norm] n = LayerNormalization(x, scale, shift)
    [q] q = MatMul(n, wq)
    [k] k = MatMul(n, wk)
    [v] v = MatMul(n, wv)
    [turn] t = Transpose <perm = [0, 2, 1]> (k)
    [scores] s = MatMul(q, t)
    [softmax] p = Softmax(s)
    [values] o = MatMul(p, v)
    [out] w = MatMul(o, wo)
    [shift] b = Add(w, shift)
    [gelu] g = Gelu(b)
    [skip] y = Add(g, x)
}
"""
CHAIN = """
chain (float[1, 8, 32, 32] image, float[8, 8, 3, 3] w1, float[8, 8, 3, 3] w2) => (float[1, 8, 32, 32] y) {
    [first] a = Conv <pads = [1, 1, 1, 1]> (image, w1)
    [relu] r = Relu(a)
    [second] b = Conv <pads = [1, 1, 1, 1]> (r, w2)
    [skip] y = Add(b, r)
}
"""
LOW, FULL = {"operands": Format.FP16, "result": Format.FP16}, {"operands": Format.FP32, "result": Format.FP32}


def plan(model, base=Format.FP16, **changes):
    """All nodes in one format, with changes by node name."""
    return [dataclasses.replace(item, **changes.get(item.node, {})) for item in policies.uniform(model, base)]


def weighted(text):
    """The graph, all its inputs but the first made weights."""
    model = parse(text)
    while len(model.graph.inputs) > 1:
        value = model.graph.inputs.pop()
        value.const_value = ir.tensor(np.ones(tuple(value.shape), np.float32), name=value.name)
        model.graph.register_initializer(value)
    return model


@pytest.fixture
def block():
    return weighted(BLOCK)


@pytest.fixture
def chain():
    return weighted(CHAIN)


def test_bytes_and_flops_of_a_chain_are_those_of_its_two_kernels(chain):
    cost = CostModel(chain).of(plan(chain, Format.FP32))
    tensor, weight = 8 * 32 * 32, 8 * 8 * 9
    # image read; relu written, and read by the second product and the Add in its epilogue, one kernel; y written
    assert cost.bytes == {Format.FP32: 4 * (tensor + tensor + tensor + tensor + 2 * weight)}
    assert cost.flops == {"fp32": 2 * 2 * tensor * 8 * 9, "elementwise": tensor}
    assert (cost.kernels, cost.casts, cost.cast_kernels, cost.fp32_nodes, cost.uncounted) == (2, 0, 0, 3, 0)


def test_the_low_format_halves_bytes_and_costs_a_cast_kernel_at_an_input_and_an_output_of_convolutions(chain):
    cost = CostModel(chain).of(plan(chain))
    tensor, weight = 8 * 32 * 32, 8 * 8 * 9
    assert cost.cast_kernels == 2
    assert cost.bytes[Format.FP32] == 4 * (tensor + tensor)  # image read by its Cast, y written by its own
    assert cost.bytes[Format.FP16] == 2 * (2 * tensor + 2 * tensor + 2 * tensor + 2 * weight)


def test_a_cast_inside_an_epilogue_is_no_kernel_and_one_at_its_other_operand_is(chain):
    count = CostModel(chain)
    inside, other = count.of(plan(chain, relu=FULL)), count.of(plan(chain, skip={"operands": Format.FP32}))
    base = count.of(plan(chain))
    assert (inside.cast_kernels, other.cast_kernels) == (base.cast_kernels, base.cast_kernels + 1)
    assert inside.bytes == base.bytes
    assert base.total < inside.total < other.total


def test_fp32_softmax_keeps_its_attention_and_values_that_were_never_rounded_lose_it(block):
    count = CostModel(block, sizes={"batch": 4})
    kept, lost = count.of(plan(block, softmax=FULL)), count.of(plan(block, v=FULL, values=FULL))
    assert (kept.attentions, kept.attentions_lost, lost.attentions_lost) == (1, 0, 1)
    assert count.of(plan(block, scores={"accumulator": Format.FP32})).attentions_lost == 0
    assert count.of(plan(block, values=FULL)).attentions_lost == 0
    assert lost.kernels == kept.kernels + 2
    scores = 4 * 16 * 16
    assert lost.total - kept.total > 2 * 4 * scores


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_counted_casts_are_those_that_convert_inserts(data):
    text = data.draw(st.sampled_from([BLOCK, CHAIN]))
    model = weighted(text)
    formats = st.sampled_from([Format.FP16, Format.FP32])
    decisions = [
        dataclasses.replace(
            item,
            operands=data.draw(formats),
            result=data.draw(formats),
            accumulator=data.draw(st.sampled_from([None, Format.FP32])) if item.op in ("MatMul", "Conv") else None,
        )
        for item in policies.uniform(model, Format.FP16)
    ]
    decisions = [item if item.op != "Transpose" else dataclasses.replace(item, **LOW) for item in decisions]
    counted = CostModel(model).of(decisions).casts
    casts.apply(model, decisions)
    assert counted == sum(node.op_type == "Cast" for node in model.graph)


def test_fp32_costs_more_than_a_low_format_for_every_node(block):
    count = CostModel(block, sizes={"batch": 4})
    low = count.of(plan(block)).total
    for item in plan(block):
        assert low <= count.of(plan(block, **{item.node: FULL})).total, item.node


def test_dynamic_axes_have_the_sizes_that_are_given_and_else_one(block):
    once, four = (CostModel(block, sizes=sizes).of(plan(block, Format.FP32)) for sizes in ({}, {"batch": 4}))
    weights = 4 * (4 * 64 * 64 + 3 * 64)
    assert four.bytes[Format.FP32] - weights == 4 * (once.bytes[Format.FP32] - weights)
    assert {name: 4 * flops for name, flops in once.flops.items()} == four.flops


def test_a_measurement_takes_the_place_of_the_count(chain):
    counted = CostModel(chain).of(plan(chain))
    assert (counted.total, counted.resolution) == (counted.counted, RESOLUTION * counted.counted)
    measured = dataclasses.replace(counted, measured=Measurement(latency_ms=4.0, spread_ms=0.5))
    assert (measured.total, measured.unit, measured.resolution) == (4.0, "ms", 0.5)


@pytest.mark.parametrize(("latency", "spread"), [(0.0, 0.1), (math.nan, 0.1), (math.inf, 0.1), (1.0, math.nan)])
def test_a_measurement_is_a_time(latency, spread):
    with pytest.raises(ValueError, match="a latency must be positive and finite"):
        Measurement(latency_ms=latency, spread_ms=spread)


@pytest.mark.parametrize(
    ("dearer", "ties"),
    [
        ({}, True),
        ({"counted": 101.0}, True),
        ({"counted": 101.1}, False),
        ({"kernels": 6}, False),
        ({"kernels": 4}, True),
    ],
)
def test_plans_tie_within_the_resolution_and_with_no_more_kernels(dearer, ties):
    cheaper = Cost(counted=100.0, kernels=5)
    assert dataclasses.replace(cheaper, **dearer).ties(cheaper) is ties


@pytest.mark.parametrize(("latency", "spread", "ties"), [(1.02, 0.01, False), (1.02, 0.03, True), (1.005, 0.0, True)])
def test_measured_plans_tie_within_the_wider_spread_however_many_kernels(latency, spread, ties):
    cheaper = Cost(counted=100.0, kernels=5, measured=Measurement(latency_ms=1.0, spread_ms=0.01))
    other = Cost(counted=200.0, kernels=9, measured=Measurement(latency_ms=latency, spread_ms=spread))
    assert other.ties(cheaper) is ties


def test_rates_are_those_of_a_target_of_the_build():
    assert of_targets(("8.6", "8.9")) is RATES["8.9"]
    assert of_targets(("12.0", "8.6")) is RATES["12.0"]
    assert of_targets(("gpu",)) is RATES["8.9"]
