"""How tight bounds are where it matters: normalisations, attention, sums over dynamic axes, declared inputs."""

import math

import numpy as np
import pytest

from pipeline.core.artifacts import ActivationRanges
from pipeline.core.formats import Format
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.precision import bounds
from pipeline.precision.bounds import Given, extents
from tests import encoder

WIDTH = encoder.WIDTH


def magnitudes(model, given=None):
    known = extents.of_graph(model.graph, ActivationRanges(model="m", samples=1, low=Format.FP16, tensors={}))
    found = bounds.of_graph(model, known, given or Given(), Format.FP16)
    return {str(value.name): bound.magnitude for value, bound in found.items()}


def of(body, outputs, weights=None, given=None):
    text = f"{encoder.HEAD} g (float[batch, sequence, {WIDTH}] x) => ({outputs}) {{ {body} }}"
    return magnitudes(encoder.parse(text, weights), given)


ROWS = f"float[batch, sequence, {WIDTH}] y"
EYE = np.eye(WIDTH, dtype=np.float32)
ONE = {"gain": np.ones(WIDTH, np.float32), "w": EYE}


def test_a_normalisation_bounds_whatever_it_reads():
    found = of("y = LayerNormalization(x, gain)", ROWS, ONE)
    assert found["x"] == math.inf
    assert found["y"] == pytest.approx(math.sqrt(WIDTH), rel=0.01)


def test_a_product_behind_it_is_bounded_by_the_norm_and_not_by_the_sum_of_the_largest():
    ones = {**ONE, "w": np.ones((WIDTH, WIDTH), np.float32)}
    found = of("n = LayerNormalization(x, gain)\n y = MatMul(n, w)", ROWS, ones)
    assert found["y"] == pytest.approx(math.sqrt(WIDTH) * math.sqrt(WIDTH), rel=0.01)  # not WIDTH * sqrt(WIDTH)


@pytest.mark.parametrize("quotient", ["y = Div(x, r)", "i = Reciprocal(r)\n y = Mul(x, i)"])
def test_a_norm_that_is_written_out_bounds_as_well(quotient):
    body = f"s = Mul(x, x)\n m = ReduceMean(s, last)\n e = Add(m, eps)\n r = Sqrt(e)\n {quotient}"
    weights = {"last": np.array([-1]), "eps": np.array(1e-5, np.float32)}
    assert of(body, ROWS, weights)["y"] == pytest.approx(math.sqrt(WIDTH), rel=0.01)


@pytest.mark.parametrize("change", [("Mul(x, x)", "Mul(x, z)"), ("1e-5", "-1e-5"), ("[-1]", "[1]")])
def test_what_only_looks_like_one_does_not(change):
    body = "z = Neg(x)\n s = Mul(x, x)\n m = ReduceMean(s, last)\n e = Add(m, eps)\n r = Sqrt(e)\n y = Div(x, r)"
    eps, axis = (1e-5 if change[1] != "-1e-5" else -1e-5), (-1 if change[1] != "[1]" else 1)
    weights = {"last": np.array([axis]), "eps": np.array(eps, np.float32)}
    assert of(body.replace(*change), ROWS, weights)["y"] == math.inf


def test_shares_of_values_lie_among_them_however_many_there_are():
    body = """
        v = Tanh(x)
        t = Transpose<perm = [0, 2, 1]>(x)
        s = MatMul(x, t)
        p = Softmax(s)
        y = MatMul(p, v)
    """
    found = of(body, ROWS, given=Given(axes={"batch": 4, "sequence": 512}))
    assert found["s"] == math.inf
    assert found["y"] == pytest.approx(1.0, rel=0.02)


def test_a_sum_over_a_dynamic_axis_needs_its_largest_size():
    weights = {"axis": np.array([1])}
    outputs = f"float[batch, 1, {WIDTH}] y"
    body = "t = Tanh(x)\n y = ReduceSum(t, axis)"
    assert of(body, outputs, weights)["y"] == math.inf
    assert of(body, outputs, weights, Given(axes={"sequence": 100}))["y"] == pytest.approx(100.0, rel=0.01)


def test_masks_are_zeros_and_ones_and_inputs_what_the_spec_says():
    inputs = {
        "x": InputSpec(dtype="float32", axes=("batch", "sequence", WIDTH), range=(-3.0, 2.0)),
        "mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
    }
    given = Given.of(inputs, {"batch": AxisRange(min=1, opt=1, max=2), "sequence": AxisRange(min=1, opt=1, max=8)})
    assert given == Given(axes={"batch": 2, "sequence": 8}, inputs={"x": (-3.0, 2.0), "mask": (0.0, 1.0)})
    assert of("y = Neg(x)", ROWS, given=given)["y"] == pytest.approx(3.0, rel=0.01)


def test_the_block_of_the_encoder_is_bounded_behind_its_norm():
    found = magnitudes(encoder.fp32(), Given(axes={"batch": 4, "sequence": 32}, inputs={"x": (-4.0, 4.0)}))
    assert all(value < 65504 for name, value in found.items() if name in {"q", "s", "p", "c", "o", "r", "y"})
