"""Sizes of tensors and multiply-adds of products, at given sizes of the dynamic axes."""

import onnx_ir as ir
import pytest

from pipeline.precision.costing import work
from tests.precision.conftest import parse

THROUGH_SHAPES = """
g (float[batch, sequence, 8] x) => (float[n, m] y) {
    [shape] s = Shape <start = 0, end = 2> (x)
    [rows] r = ReduceProd <keepdims = 1> (s)
    [rest] k = Constant <value = int64[1] {8}> ()
    [both] t = Concat <axis = 0> (r, k)
    [flat] y = Reshape(x, t)
}
"""


def named(model, sizes):
    return {value.name: shape for value, shape in work.shapes(model, sizes).items()}


def test_sizes_are_followed_through_shapes_and_the_model_keeps_its_names():
    model = parse(THROUGH_SHAPES)
    before = [str(value.shape) for node in model.graph for value in node.outputs]
    assert named(model, {"batch": 2, "sequence": 5})["x"] == (2, 5, 8)
    assert named(model, {"batch": 2, "sequence": 5})["s"] == (2,)
    assert [str(value.shape) for node in model.graph for value in node.outputs] == before


def test_an_axis_that_is_not_named_counts_one():
    assert named(parse(THROUGH_SHAPES), {"sequence": 5})["x"] == (1, 5, 8)


@pytest.mark.parametrize(
    ("dim", "size"),
    [
        ("2*batch + 1", 9),
        ("(batch - 1)//2", 1),
        ("batch/2", 2),
        ("floor(batch)", None),
        ("unk__3", None),
        ("a b", None),
    ],
)
def test_arithmetic_on_names_is_evaluated_and_anything_else_is_not_known(dim, size):
    assert work._size(ir.SymbolicDim(dim), {"batch": 4}) == size


@pytest.mark.parametrize(
    ("text", "products"),
    [
        ("g (float[2, 3, 4] x, float[4, 5] w) => (float[2, 3, 5] y) { y = MatMul(x, w) }", 2 * 3 * 4 * 5),
        ("g (float[4, 3] x, float[4, 5] w) => (float[3, 5] y) { y = Gemm <transA = 1> (x, w) }", 3 * 4 * 5),
        (
            "g (float[1, 4, 8, 8] x, float[6, 2, 3, 3] w) => (float[1, 6, 6, 6] y) { y = Conv <group = 2> (x, w) }",
            6 * 6 * 6 * 2 * 3 * 3,
        ),
        (
            "g (float[1, 4, 8, 8] x, float[4, 6, 3, 3] w) => (float[1, 6, 10, 10] y) { y = ConvTranspose(x, w) }",
            4 * 8 * 8 * 6 * 3 * 3,
        ),
        (
            'g (float[2, 3, 4] x, float[4, 5] w) => (float[2, 3, 5] y) {y = Einsum <equation = "bik,kj->bij">(x, w)}',
            2 * 3 * 4 * 5,
        ),
        (
            'g (float[2, 3, 4] x, float[4, 5] w) => (float[2, 3, 5] y) {y = Einsum <equation = "...k,kj->...j">(x, w)}',
            None,
        ),
    ],
)
def test_multiply_adds_are_those_of_the_definition(text, products):
    model = parse(text)
    (node,) = model.graph
    assert work.multiply_adds(node, work.shapes(model, {})) == products


def test_what_is_not_known_has_no_size():
    assert (work.elements(None), work.elements((2, None)), work.elements(())) == (None, None, 1)
