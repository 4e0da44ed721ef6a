"""A row with no valid key stays finite, though calibration saw no mask at all: the constant behind it is followed."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.backends.onnxruntime import Session
from pipeline.core.formats import Format
from pipeline.core.spec import PrecisionSpec
from pipeline.precision import casts, evidence
from pipeline.precision.emulation.emulate import emulate
from pipeline.precision.policy import policies, policy_file
from tests.precision.conftest import observed, parse, ranges

MASKED = """
masked (float[batch, 4, 8] q, float[batch, 4, 8] k, float[batch, 4, 8] v, int64[batch, 4] mask)
    => (float[batch, 4, 8] y) {
    [float] m = Cast <to = 1> (mask)
    [one] one = Constant <value = float {1.0}> ()
    [lowest] lowest = Constant <value = float {LOWEST}> ()
    [padding] padding = Sub(one, m)
    [fill] bias = Mul(padding, lowest)
    [axes] axes = Constant <value_ints = [1]> ()
    [row] row = Unsqueeze(bias, axes)
    [turn] t = Transpose <perm = [0, 2, 1]> (k)
    [scores] s = MatMul(q, t)
    [masked] sm = Add(s, row)
    [softmax] p = Softmax(sm)
    [values] y = MatMul(p, v)
}
"""
LOWESTS = ("-3.4028234663852886e38", "-1e9", "-65504.0", "-10000.0")
UNSEEN = ("padding", "bias", "row")
"""What is zero wherever nothing is padded."""


def mixed(lowest, policy):
    """The graph as it is marked and converted when no calibration sample was padded."""
    spec = PrecisionSpec(policy=policy)
    model = parse(MASKED.replace("LOWEST", lowest))
    seen = evidence.gather(model, ranges(model, Format.FP16, **dict.fromkeys(UNSEEN, observed(0.0))), spec)
    casts.apply(model, policies.decide(seen, policy_file.settings(spec, Path("engines/tiny")), {}))
    return model


def outputs(model, mask):
    random = np.random.default_rng(0)
    feeds = {name: random.normal(size=(2, 4, 8)).astype(np.float32) for name in "qkv"}
    return Session(emulate(model), as_written=True)({**feeds, "mask": mask})["y"], feeds["v"]


@pytest.mark.parametrize("lowest", LOWESTS)
def test_a_fully_masked_row_is_finite_and_a_mean_of_values(lowest):
    found, values = outputs(mixed(lowest, "sensitive"), np.array([[1, 1, 1, 1], [0, 0, 0, 0]]))
    assert np.isfinite(found).all()
    lowest_value, highest = values[1].min(axis=0), values[1].max(axis=0)
    assert (found[1] >= lowest_value - 0.01).all()
    assert (found[1] <= highest + 0.01).all()


def test_all_low_makes_it_nan_so_that_the_test_above_can_fail():
    found, _ = outputs(mixed(LOWESTS[0], "all-fp16"), np.array([[1, 1, 1, 1], [0, 0, 0, 0]]))
    assert np.isnan(found[1]).all()
