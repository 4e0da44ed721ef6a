"""What the benchmark counts on any graph is what the cost model counts on its plan."""

import dataclasses

import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.formats import Format
from pipeline.graph import infer
from pipeline.precision import casts
from pipeline.precision.costing.cost import CostModel
from pipeline.precision.policy import policies
from tests.benchmarks import graph_facts
from tests.precision.conftest import parse

NORMED = """
normed (float[4, 8, 16] x, float[16, 16] w) => (float[4, 8, 16] y) {
    two = Constant <value_float = 2.0> ()
    axes = Constant <value_ints = [-1]> ()
    [square] s = Pow(x, two)
    [mean] m = ReduceMean(s, axes)
    [root] r = Sqrt(m)
    [over] n = Div(x, r)
    [product] p = MatMul(n, w)
    [turn] t = Transpose <perm = [0, 2, 1]> (p)
    [scores] a = MatMul(p, t)
    [softmax] q = Softmax(a)
    [values] y = MatMul(q, p)
}
"""
SUMS = frozenset({"MatMul", "ReduceMean"})


@settings(max_examples=60)
@given(st.data())
def test_nodes_in_fp32_are_those_that_the_cost_model_counts(data):
    model = parse(NORMED)
    for index, node in enumerate(model.graph):
        node.name = node.name or f"constant_{index}"
    formats = st.sampled_from([Format.FP16, Format.FP32])
    decisions = []
    for item in policies.uniform(model, Format.FP16):
        moves = item.op in ("Transpose", "Constant")
        operands = Format.FP16 if moves else data.draw(formats)
        summed = data.draw(st.sampled_from([None, Format.FP32])) if item.op in SUMS else None
        result = operands if moves else data.draw(formats)
        decisions.append(dataclasses.replace(item, operands=operands, accumulator=summed, result=result))
    counted = CostModel(model).of(decisions).fp32_nodes
    casts.apply(model, decisions)
    infer.infer(model)
    assert graph_facts.fp32_nodes(model) == counted


def test_a_sum_of_what_was_only_widened_is_no_node_in_fp32():
    model = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["" : 20]>
        g (float16[4, 4] x) => (float z) {
            [widen] w = Cast <to = 1> (x)
            [product] p = MatMul(w, w)
            [total] s = ReduceSum <keepdims = 0> (w)
            [other] t = ReduceSum <keepdims = 0> (p)
            [last] z = Add(s, t)
        }"""
    )
    infer.infer(model)
    assert graph_facts.fp32_nodes(model) == 2  # `other`, whose operand was never low, and `last`
