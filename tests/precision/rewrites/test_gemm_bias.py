"""A Gemm's bias is an Add of its own afterwards, and nothing else changes."""

import numpy as np
import pytest

from pipeline.precision.rewrites.gemm_bias import split_gemm_bias
from pipeline.precision.rewrites.types import infer

HEAD = '<ir_version: 10, opset_import: ["" : 20]>\n'
GEMM = (
    HEAD
    + """
dense (float[n, 2] x) => (float[n, 3] y, float[n, 3] z)
    <float[3, 2] w = {1, 2, 3, 4, 5, 6}, float[3] b = {0.5, 0.25, 7}> {
    [gemm] h = Gemm <transB = 1, alpha = 2.0> (x, w, b)
    [act] y = Relu(h)
    [other] z = Neg(h)
}
"""
)
X = np.float32([[1, -2], [3, 4]])


def split(model):
    infer(model)
    return split_gemm_bias(model)


def test_the_bias_is_added_after_the_product(rewritten):
    graph = rewritten(GEMM, split)
    assert graph.ops == ["Gemm", "Add", "Relu", "Neg"]
    assert [value.name for value in graph.node("Gemm").inputs] == ["x", "w"]
    graph.require_same(x=X)
    graph.require_accounted()


def test_the_tensor_after_the_bias_keeps_the_name(rewritten):
    graph = rewritten(GEMM, split)
    assert [value.name for value in graph.node("Add").inputs] == ["h::product", "b"]
    assert graph.node("Add").outputs[0].name == "h"
    assert graph.node("Gemm").name == "gemm"


@pytest.mark.parametrize("call", ["Gemm(x, v)", "Gemm <beta = 0.5> (x, v, b)"])
def test_other_forms_are_left_alone(rewritten, call):
    text = (
        HEAD
        + f"""
    g (float[n, 2] x) => (float[n, 2] y) <float[2, 2] v = {{1, 2, 3, 4}}, float[2] b = {{1, 2}}> {{ [gemm] y = {call} }}
    """
    )
    assert rewritten(text, split).ops == ["Gemm"]


def test_a_graph_output_keeps_its_name(rewritten):
    text = (
        HEAD
        + """
    g (float[n, 2] x) => (float[n, 2] y) <float[2, 2] v = {1, 2, 3, 4}, float[2] b = {1, 2}> { y = Gemm(x, v, b) }
    """
    )
    graph = rewritten(text, split)
    assert [value.name for value in graph.after.graph.outputs] == ["y"]
    graph.require_same(x=X)
