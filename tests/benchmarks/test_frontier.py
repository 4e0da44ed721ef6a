"""Which rows of the peers' table no other beats."""

import math

import pytest

from tests.benchmarks import frontier

GOOD = {
    "who": "good",
    "sqnr_db": 60.0,
    "worsening": 0.0,
    "masked_nan": 0,
    "fp32_nodes": 10,
    "casts": 20,
    "kernels": 50,
    "attentions": 6,
}
WORSE = {
    "sqnr_db": 59.9,
    "worsening": 0.001,
    "masked_nan": 3,
    "fp32_nodes": 11,
    "casts": 21,
    "kernels": 51,
    "attentions": 5,
}


@pytest.mark.parametrize("name", WORSE)
def test_what_is_worse_by_one_measure_and_better_by_none_is_beaten(name):
    other = GOOD | {"who": "other", name: WORSE[name]}
    assert frontier.beaten_by(other, [GOOD, other]) == ["good"]
    assert frontier.beaten_by(GOOD, [GOOD, other]) == []
    assert len(frontier.leads(GOOD, [GOOD, other])) == 1
    assert frontier.leads(other, [GOOD, other]) == []


@pytest.mark.parametrize("name", WORSE)
def test_what_is_better_by_one_measure_is_on_the_frontier(name):
    rival = GOOD | WORSE | {"who": "rival", name: GOOD[name]}
    row = GOOD | {"who": "row", name: WORSE[name]}
    assert frontier.beaten_by(row, [rival, row]) == []
    assert frontier.beaten_by(rival, [rival, row]) == []


def test_equal_rows_do_not_beat_each_other_and_what_the_table_rounds_away_is_equal():
    twin = GOOD | {"who": "twin", "sqnr_db": 60.04, "worsening": -0.2}
    assert frontier.beaten_by(GOOD, [GOOD, twin]) == []
    assert frontier.beaten_by(twin, [GOOD, twin]) == []


@pytest.mark.parametrize(
    "change", [{"sqnr_db": math.nan}, {"worsening": math.nan}, {"kernels": None, "attentions": None}]
)
def test_nan_and_what_was_not_built_are_the_worst(change):
    other = GOOD | {"who": "other"} | change
    assert frontier.beaten_by(other, [GOOD, other]) == ["good"]
