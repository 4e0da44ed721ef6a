"""A transform of fixed length is a matrix product afterwards, and gives what ONNX Runtime's own gives."""

import numpy as np
import pytest

from pipeline.precision.rewrites.fourier import multiply_by_sinusoids
from pipeline.precision.rewrites.types import infer

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
spectrum (float[n, {points}, {parts}] x) => (float[n, f, 2] y) <int64 axis = {{{axis}}}, int64 length = {{6}}> {{
    [fourier] y = DFT <{attributes}> (x, {length}, axis)
}}
"""


def graph(points=6, parts=1, axis=1, attributes="onesided = 1", length=""):
    return GRAPH.format(points=points, parts=parts, axis=axis, attributes=attributes, length=length)


def multiplied(model):
    infer(model)
    return multiply_by_sinusoids(model)


@pytest.mark.parametrize("points", [6, 7])
@pytest.mark.parametrize(
    ("parts", "attributes"),
    [(1, "onesided = 1"), (1, "onesided = 0"), (2, "onesided = 0"), (2, "inverse = 1"), (1, "inverse = 1")],
)
def test_the_same_spectrum(rewritten, points, parts, attributes):
    found = rewritten(graph(points, parts, attributes=attributes), multiplied)
    assert "MatMul" in found.ops
    found.require_accounted()
    signal = np.random.default_rng(0).standard_normal((3, points, parts)).astype(np.float32)
    for expected, result in found.results(x=signal):
        np.testing.assert_allclose(result, expected, atol=1e-5)


def test_a_length_that_is_the_signals_own(rewritten):
    assert "MatMul" in rewritten(graph(length="length"), multiplied).ops


@pytest.mark.parametrize("changed", [{"axis": 0}, {"length": "length", "points": 8}, {"points": "s"}, {"points": 4096}])
def test_others_are_left_alone(rewritten, changed):
    assert rewritten(graph(**changed), multiplied).ops == ["DFT"]
