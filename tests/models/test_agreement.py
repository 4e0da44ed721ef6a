import numpy as np
import pytest

from pipeline.core.errors import ExportError
from pipeline.models.agreement import Tolerance, check, difference
from pipeline.models.shapes import Case

TOLERANCE = Tolerance(atol=1e-3)


def case(name="odd sizes", padded=False):
    return Case(name=name, sizes={"batch": 3}, feeds={}, padded=padded)


def gives(*arrays):
    return lambda feeds: [np.asarray(array) for array in arrays]


def outcome(left, right, **options):
    return difference(gives(left), gives(right), case(**options), ["y"], TOLERANCE)


def test_within_and_beyond_the_tolerance():
    assert outcome([1.0, 2.0], [1.0, 2.0005]).problem is None
    assert outcome([1.0, 2.0], [1.0, 2.5]).problem == "y differs by 0.5, allowed 0.001"


@pytest.mark.parametrize("at", [0, 2, 4])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_fails_wherever_it_stands(at, value):
    wrong = np.zeros(5)
    wrong[at] = value
    assert outcome(np.zeros(5), wrong).problem == "y has other NaN or infinities in 1 elements"


def test_nan_in_the_source_fails_even_where_the_candidate_has_it_too():
    assert outcome([np.nan], [np.nan]).problem == "y is NaN in the source model itself"
    assert outcome([np.nan], [np.nan], padded=True).problem is None
    assert outcome([np.nan, 1.0], [1.0, np.nan], padded=True).problem == "y has other NaN or infinities in 2 elements"


def test_equal_infinities_agree_and_opposite_ones_do_not():
    assert outcome([np.inf], [np.inf]).problem is None
    assert outcome([np.inf], [-np.inf]).problem == "y has other NaN or infinities in 1 elements"


def test_shapes_and_emptiness():
    assert outcome(np.zeros(3), np.zeros(2)).problem == "y has shape (2,), expected (3,)"
    assert outcome(np.zeros(0), np.zeros(0)).problem == "y is empty"


def test_integers_are_compared_exactly():
    assert outcome(np.array([1, 2]), np.array([1, 2])).problem is None
    assert outcome(np.array([1, 2]), np.array([1, 3])).problem == "y differs"


def test_a_check_tells_the_shapes_and_the_largest_difference():
    record, failed = check(gives([1.0]), gives([1.0]), [case("least sizes"), case()], ["y"], TOLERANCE)
    assert failed is None
    assert record.summary == (
        "largest difference 0 (allowed 0.001) over 2 shapes: least sizes (batch 3); odd sizes (batch 3)"
    )


def test_a_check_stops_at_the_first_case_that_fails():
    record, failed = check(gives([1.0]), gives([2.0]), [case("least sizes"), case()], ["y"], TOLERANCE)
    assert failed is not None
    assert failed.name == "least sizes"
    assert not record.passed
    assert record.problems == ("least sizes (batch 3): y differs by 1, allowed 0.001",)


def test_no_case_is_no_check():
    with pytest.raises(ExportError) as caught:
        check(gives([1.0]), gives([1.0]), [], ["y"], TOLERANCE)
    assert str(caught.value) == "no shape was checked\n  hint: give at least one sample"


def test_where_a_half_precision_source_overflows_it_says_nothing():
    rounded = Tolerance(atol=1e-3, rtol=2.0**-8, rounded=True)
    found = difference(gives([np.inf, 100.0]), gives([70000.0, 100.2]), case(), ["y"], rounded)
    assert found.problem is None
    found = difference(gives([100.0, np.nan]), gives([np.nan, 1.0]), case(), ["y"], rounded)
    assert found.problem == "y has other NaN or infinities in 1 elements"
