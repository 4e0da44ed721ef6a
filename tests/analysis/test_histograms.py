import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.analysis.comparison.histograms import Magnitudes, Values, alike

ARRAYS = hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32))


def counted(histogram) -> int:
    return sum(histogram.counts) + histogram.zeros + histogram.nan + histogram.inf


@given(st.lists(ARRAYS, max_size=4))
def test_every_element_is_counted_once_whatever_the_batches(batches):
    values, magnitudes = Values(), Magnitudes()
    for batch in batches:
        values.add(batch)
        magnitudes.add(batch)
    total = sum(batch.size for batch in batches)
    assert counted(values.histogram()) == counted(magnitudes.histogram()) == total


@given(ARRAYS, ARRAYS)
def test_the_order_of_batches_does_not_matter(one, other):
    there, back = Values(), Values()
    for values, batches in ((there, (one, other)), (back, (other, one))):
        for batch in batches:
            values.add(batch)
    assert there.histogram() == back.histogram()


@given(hnp.arrays(np.float32, st.integers(1, 40), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_values_are_in_their_bins(array):
    values = Values()
    values.add(array)
    found = values.histogram()
    counts, _ = np.histogram(array.astype(np.float64), np.array(found.edges))
    assert list(counts) == list(found.counts)


def test_magnitudes_are_counted_by_power_of_two():
    magnitudes = Magnitudes()
    magnitudes.add(np.array([0, 1, -1.5, 2, 8, np.nan, -np.inf], np.float32))
    found = magnitudes.histogram()
    assert found.edges == (1.0, 2.0, 4.0, 8.0, 16.0)
    assert found.counts == (2, 1, 0, 1)
    assert (found.zeros, found.nan, found.inf) == (1, 1, 1)


def test_two_histograms_share_their_bins():
    one, other = Values(), Values()
    one.add(np.array([1.0]))
    other.add(np.array([1000.0]))
    first, second = alike(one, other)
    assert first.edges == second.edges
    assert first.edges[0] <= -1000
    assert sum(first.counts) == sum(second.counts) == 1
