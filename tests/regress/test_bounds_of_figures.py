import dataclasses
import math

import pytest

from pipeline.core.artifacts.steadiness import Steadiness
from pipeline.core.errors import BaselineError
from pipeline.core.formats import Format
from pipeline.regress.take import noise
from pipeline.regress.tolerances import bounds
from tests import records
from tests.regress.figures import figures, module

LAYERS = (records.layer("t1", tensor="t1", module="head"),)


def steadiness(*power, own=(), tasks=()):
    return Steadiness(repeats=4, epsilon=1e-6, layers={"t1": power}, own={"t1": own} if own else {}, tasks=tasks)


def of(stored, sqnr_db, *power, tasks=()):
    now = figures(modules={"head": module(1, sqnr_db=sqnr_db, format=stored)}, outputs={})
    return bounds(now, LAYERS, steadiness(*power, tasks=tasks))


def test_with_no_spread_one_more_rounding_is_allowed():
    steady = (1e-6,) * 4
    for stored in (Format.FP16, Format.BF16):
        floor = of(stored, 60.0, *steady).modules["head"]
        assert noise(floor) == pytest.approx(1e-6 + noise(stored.limits.rounding_sqnr_db), rel=1e-3)


def test_an_exact_fp32_module_may_not_become_a_rounded_one():
    floor = of(Format.FP32, math.inf, 0.0, 0.0, 0.0, 0.0).modules["head"]
    assert floor > Format.FP16.limits.rounding_sqnr_db + 60


def test_a_wider_spread_allows_more_and_a_bound_is_never_above_its_figure():
    floors = [
        of(Format.FP16, 60.0, *(1e-6 * (1 + scale * i) for i in range(4))).modules["head"] for scale in (0, 0.01, 0.1)
    ]
    assert 60.0 > floors[0] > floors[1] > floors[2]


def test_the_measured_spread_enters_as_a_prediction_limit():
    values = (1.0e-6, 1.1e-6, 0.9e-6, 1.0e-6)
    spread = 10.2145 * math.sqrt(1.25) * 8.16497e-8  # t(0.999, 3), and the deviation of `values`
    floor = of(Format.FP32, 60.0, *values).modules["head"]
    assert noise(floor) == pytest.approx(1e-6 + spread, rel=1e-3)


def test_a_task_may_lose_a_unit_roundoff_and_its_spread():
    assert of(Format.FP16, 60.0, 1e-6).tasks["similarity"] == pytest.approx(0.655 * 2.0**-11)
    assert of(Format.FP16, 60.0, 1e-6, tasks=(0.65, 0.66, 0.65, 0.66)).tasks["similarity"] > 0.05


def test_what_is_not_finite_gives_no_baseline():
    with pytest.raises(BaselineError) as caught:
        of(Format.FP16, 60.0, 1e-6, math.nan, 1e-6, 1e-6)
    assert str(caught.value) == (
        "a figure is not finite when sums come out in another order: no baseline can be derived from it\n"
        "  hint: `trt-pipeline validate` shows the layers; keep the one that overflows in fp32"
    )


def test_a_spread_needs_two():
    with pytest.raises(ValueError, match="a spread needs at least 2 repeats, got 1"):
        dataclasses.replace(steadiness(1e-6), repeats=1)
