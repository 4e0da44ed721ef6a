import math

import pytest

from pipeline.report import figures
from tests import records


def test_bad_layers_come_first_in_graph_order_then_the_least_margin():
    layers = (
        records.layer("good", depth=0, stats=records.stats(90.0)),
        records.layer("tight", depth=1, stats=records.stats(63.0)),
        records.layer("later", depth=5, stats=records.stats(-10.0), bad=True, reason="overflowed"),
        records.layer("first", depth=3, stats=records.stats(math.nan), bad=True, reason="NaN"),
    )
    worst = figures.worst(records.report(passed=False, layers=layers), 3)
    assert [layer.node for layer in worst] == ["first", "later", "tight"]


def test_layers_without_error_or_without_figures_are_no_worst_layers():
    layers = (
        records.layer("exact", stats=records.stats(math.inf)),
        records.layer("skipped", stats=None, floor_db=None, reason="fused away"),
        records.layer("free", floor_db=None),
    )
    assert figures.worst(records.report(layers=layers), 10) == []


def test_a_bad_layer_that_was_not_compared_is_still_shown():
    layers = (records.layer("lost", stats=None, bad=True, reason="not observed"),)
    assert [layer.node for layer in figures.worst(records.report(passed=False, layers=layers), 10)] == ["lost"]


@pytest.mark.parametrize(
    ("worst", "text"),
    [
        ({}, "–"),
        ({"worst_sample": 3, "worst_relative_l2": 1e-3}, "60.0 dB (#3)"),
        ({"worst_sample": 8, "worst_together": 8, "worst_relative_l2": 1e-3}, "60.0 dB (#8 to 15)"),
        ({"worst_sample": 0, "worst_relative_l2": 0.0}, "exact"),
        ({"worst_sample": 5, "worst_relative_l2": math.inf}, "not finite (#5)"),
    ],
)
def test_the_worst_sample_as_text(worst, text):
    assert figures.worst_sample(records.stats(60.0, **worst)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.inf, "exact"), (-math.inf, "-inf dB"), (math.nan, "nan dB"), (61.24, "61.2 dB")],
)
def test_decibels_as_text(value, text):
    assert figures.db(value) == text
