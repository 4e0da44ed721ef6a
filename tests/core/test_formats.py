import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.formats import Format


def test_fp16_limits_are_those_of_numpy():
    known, limits = np.finfo(np.float16), Format.FP16.limits
    assert limits.largest == float(known.max)
    assert limits.smallest_normal == float(known.smallest_normal)
    assert limits.smallest_subnormal == float(known.smallest_subnormal)
    assert limits.unit_roundoff == float(known.eps) / 2


@given(st.floats(min_value=1e-9, max_value=1e6))
def test_overflow_and_flush_limits_agree_with_rounding(value):
    limits = Format.FP16.limits
    with np.errstate(over="ignore"):
        rounded = np.float64(value).astype(np.float16)
    assert np.isinf(rounded) == (value >= limits.overflow_from)
    assert (rounded == 0) == (value <= limits.flush_to_zero)


@pytest.mark.parametrize(("kind", "decibel"), [(Format.FP16, 74.3), (Format.BF16, 56.3), (Format.FP32, 152.6)])
def test_expected_noise_of_one_rounding(kind, decibel):
    assert kind.limits.rounding_sqnr_db == pytest.approx(decibel, abs=0.06)


def test_expected_noise_is_what_rounding_does():
    values = np.exp(np.random.default_rng(0).uniform(-3, 3, 200_000))
    error = values.astype(np.float16).astype(np.float64) - values
    within_octaves = [
        10 * np.log10(np.sum(values[at] ** 2) / np.sum(error[at] ** 2))
        for at in (np.floor(np.log2(values)) == exponent for exponent in range(-3, 4))
    ]
    assert np.mean(within_octaves) == pytest.approx(Format.FP16.limits.rounding_sqnr_db, abs=0.2)
