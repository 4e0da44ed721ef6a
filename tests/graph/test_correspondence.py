import pytest

from pipeline.core.artifacts import Fate
from pipeline.graph.correspondence import compose, invert, lookup, unaccounted

GONE = Fate(tensor="c", now=None, reason="dead")


def test_a_tensor_without_a_fate_kept_its_name():
    assert lookup((GONE,), "a") == Fate(tensor="a", now="a")
    assert lookup((GONE,), "c") == GONE


def test_fates_of_successive_rewrites_chain():
    first = (Fate(tensor="a", now="b", exponent=2, layout=(1, 0, 2), reason="turned"),)
    second = (Fate(tensor="b", now="d", exponent=-5, layout=(0, 2, 1), reason="scaled"),)
    assert compose(["a"], first, second) == (
        Fate(tensor="a", now="d", exponent=-3, layout=(1, 2, 0), reason="turned; scaled"),
    )


def test_layouts_that_undo_each_other_are_none():
    there = (Fate(tensor="a", now="a", layout=(1, 2, 0)),)
    back = (Fate(tensor="a", now="a", layout=(2, 0, 1)),)
    assert compose(["a"], there, back) == ()


def test_a_layout_follows_the_data():
    import numpy as np

    array = np.arange(24).reshape(2, 3, 4)
    first, second = (2, 0, 1), (1, 0, 2)
    (fate,) = compose(["a"], (Fate(tensor="a", now="a", layout=first),), (Fate(tensor="a", now="a", layout=second),))
    np.testing.assert_array_equal(array.transpose(first).transpose(second), array.transpose(fate.layout))


def test_what_is_gone_stays_gone_even_where_its_name_is_used_again():
    assert compose(["c"], (GONE,), (Fate(tensor="c", now="x"),)) == (GONE,)


def test_fates_of_tensors_that_a_rewrite_made_itself_are_left_out():
    assert compose(["a"], (Fate(tensor="new", now=None, reason="dead"),)) == ()


def test_two_fates_of_one_tensor_are_refused():
    twice = (Fate(tensor="a", now="b"), Fate(tensor="a", now="c"))
    with pytest.raises(ValueError, match=r"^two fates of tensor a: Fate\(.*\) and Fate\(.*\)$"):
        compose(["a"], twice)


def test_lost_tensors_and_dangling_fates_are_found():
    fates = (GONE, Fate(tensor="d", now="missing"))
    assert unaccounted(["a", "b", "c", "d"], fates, ["a"]) == ("b", "d")


def test_fates_lead_back_to_where_they_came_from():
    there = (
        GONE,
        Fate(tensor="a", now="b", exponent=3, exponents=(1, 2), axis=-2, layout=(1, 2, 0)),
        Fate(tensor="d", now="e"),
    )
    back = invert(there)
    assert back == (
        Fate(tensor="b", now="a", exponent=-3, exponents=(-1, -2), axis=-1, layout=(2, 0, 1)),
        Fate(tensor="e", now="d"),
    )
    assert invert(back) == there[1:]


def test_of_several_tensors_that_became_one_the_first_leads_back():
    assert invert((Fate(tensor="a", now="c"), Fate(tensor="b", now="c"))) == (Fate(tensor="c", now="a"),)
