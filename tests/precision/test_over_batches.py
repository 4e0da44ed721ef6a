"""What a difference says of the batches that were merged into it."""

import math
from functools import reduce

import numpy as np
import pytest

from pipeline.precision.reducers.differences import Difference, between

REFERENCE = np.array([3.0, 4.0])


def merged(*candidates) -> Difference:
    parts = [between(REFERENCE, np.array(candidate), sample=at) for at, candidate in enumerate(candidates)]
    return reduce(Difference.merge, parts, Difference())


def test_mean_and_worst_over_batches_and_which_was_worst():
    stats = merged([3.0, 4.0], [3.0, 5.0], [3.5, 4.0]).stats()
    assert stats.worst_sample == 1
    assert stats.worst_relative_l2 == pytest.approx(0.2)
    assert stats.mean_relative_l2 == pytest.approx((0 + 0.2 + 0.1) / 3)
    assert stats.relative_l2 == pytest.approx(math.sqrt(1.25 / 75))


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_batch_with_a_mismatch_is_the_worst_wherever_it_stands(broken):
    for position in range(3):
        batches = [[30.0, 4.0], [3.0, 40.0], [3.0, 5.0]]
        batches[position] = [broken, 4.0]
        stats = merged(*batches).stats()
        assert stats.worst_sample == position
        assert stats.worst_relative_l2 == math.inf


def test_one_batch_is_its_own_worst():
    stats = between(REFERENCE, np.array([3.0, 5.0]), sample=4).stats()
    assert (stats.worst_sample, stats.worst_relative_l2) == (4, stats.mean_relative_l2)
    assert stats.mean_relative_l2 == stats.relative_l2


def test_how_batches_are_merged_does_not_matter():
    parts = [between(REFERENCE, np.array([3.0, 4.0 + step]), sample=at) for at, step in enumerate((0.1, 0.4, 0.2, 0.3))]
    left = reduce(Difference.merge, parts, Difference())
    paired = parts[0].merge(parts[1]).merge(parts[2].merge(parts[3]))
    assert left.stats().worst_sample == paired.stats().worst_sample == 1
    assert left.stats().mean_relative_l2 == pytest.approx(paired.stats().mean_relative_l2)


def test_nothing_has_no_worst():
    assert (Difference().stats().worst_sample, Difference().stats().mean_relative_l2) == (-1, 0.0)
