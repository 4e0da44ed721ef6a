"""What a search found, as a page, on a terminal and in Markdown; and a plan's lost fusions beside it."""

import dataclasses
import io

import pytest
from rich.console import Console

from pipeline.core.artifacts import EnginePlans, Outcome
from pipeline.report import frontier, html, markdown, page_data, search_console
from tests import records


@pytest.fixture
def plans(tmp_path):
    return records.plans(tmp_path / "x.plan")


def printed(found):
    out = io.StringIO()
    search_console.show(Console(file=out, width=100), found)
    return out.getvalue()


def test_a_sentence_says_what_the_search_saved():
    assert frontier.sentence(records.search()) == (
        "4 nodes in fp32 instead of 20, 8 casts instead of 40, 93.00% of the default plan's cost, 48.0 dB; "
        "5 plans in 42 trials on 32 samples (3 more were remembered)."
    )
    fallen = dataclasses.replace(records.search(), outcome=Outcome.FELL_BACK, chosen=3, remembered=0)
    assert frontier.sentence(fallen) == (
        "Nothing cheaper than the default policy's plan held on samples that the search never saw; "
        "5 plans in 42 trials on 32 samples."
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "What is cheaper did not hold on samples that the search never saw."),
        (
            {"resolution": 2e6},
            "It is 1.09% dearer than the cheapest that meets the budget (2 nodes in fp32, 4 casts, 34.0 dB), and costs "
            "are not told apart within 2.2%; it is 14.0 dB better on what the search saw.",
        ),
        (
            {"cheapest": 2},
            "It is the cheapest that meets the budget; costs are not told apart within 1.0%, and none that near has "
            "half its error and fewer fp32 nodes than the default policy's.",
        ),
        ({"outcome": Outcome.FELL_BACK, "chosen": 3}, "The default policy's plan is what is left."),
    ],
)
def test_why_this_plan_and_not_the_cheapest(changes, reason):
    assert frontier.reason(dataclasses.replace(records.search(), **changes)) == reason


def test_a_plan_may_be_taken_because_it_is_leaner_than_the_cheapest():
    found = records.search()
    dearer = dataclasses.replace(found.points[1], cost=found.points[2].cost * 1.001)
    points = (found.points[0], dearer, *found.points[2:])
    swapped = dataclasses.replace(found, points=points, chosen=1, cheapest=2, resolution=2e6)
    assert frontier.reason(swapped).endswith("it saves 4 casts and 2 nodes in fp32 for 14.0 dB on what the search saw.")


def measured(**more):
    """The same search, where latencies decided."""
    found = records.search()
    latencies = (None, 1.000, 1.004, 1.250, None)
    points = [dataclasses.replace(point, latency_ms=ms) for point, ms in zip(found.points, latencies, strict=True)]
    return dataclasses.replace(found, points=tuple(points), measured_on="NVIDIA Test", resolution=0.01, **more)


def test_measured_latencies_stand_beside_what_was_counted():
    found = measured()
    assert frontier.sentence(found).startswith(
        "4 nodes in fp32 instead of 20, 8 casts instead of 40, 1.004 ms instead of 1.250 ms on NVIDIA Test (93.00% of "
        "the default plan's cost by count), 48.0 dB;"
    )
    assert frontier.reason(found) == (
        "It is 0.40% dearer than the cheapest that meets the budget (2 nodes in fp32, 4 casts, 34.0 dB), and latencies "
        "are not told apart within 1.0%; it is 14.0 dB better on what the search saw."
    )
    assert frontier.reason(measured(cheapest=2)).startswith(
        "It is the cheapest that meets the budget; latencies are not told apart within 1.0%"
    )
    assert {row[0]: row[1] for row in frontier.point_rows(found)} == {
        "without norms": "92.00% (1.000 ms)",
        "norms of encoder.layer.0 in fp32": "93.00% (1.004 ms)",
        "default policy": "100.00% (1.250 ms)",
        "everything in fp32": "260.00%",
    }
    assert frontier.columns(found)["latency"] == [None, 1.000, 1.004, 1.250, None]


def test_the_page_says_which_gpu_measured(plans):
    page = html.render(records.report(), records.precision(), plans, measured())
    assert "latencies, which decided, were measured on NVIDIA Test." in page
    assert "were measured on" not in html.render(records.report(), records.precision(), plans, records.search())


def test_the_budget_is_said_whole():
    assert frontier.budget(records.search()) == (
        "at least 30.0 dB, within 0.05 + 0.05 × |reference| at every output, similarity worse by at most 0.01"
    )


def test_named_points_are_in_the_table_with_their_names():
    rows = {row[0]: row for row in frontier.point_rows(records.search())}
    assert rows["norms of encoder.layer.0 in fp32"][-1] == "chosen, knee"
    assert rows["without norms"][-1] == "cheapest, overfitted"
    assert rows["default policy"][1:] == ("100.00%", "40", "20", "50.5 dB", "✓", "default policy")
    assert "least fp32" not in rows  # broken, and on no frontier


def test_purchases_say_what_they_cost_and_buy():
    assert frontier.purchase_rows(records.search()) == [
        ("norms of encoder.layer.0", "2", "yes", "+1.00%", "+14.0 dB", "without it y errs by 34.0 dB"),
        ("mask", "1", "yes", "-0.20%", "finite outputs", "without it y is not finite"),
    ]


def test_the_terminal_and_markdown_show_frontier_purchases_and_what_held(plans):
    text = printed(records.search())
    assert max(map(len, text.splitlines())) <= 100
    summary = markdown.render(records.report(), records.precision(), plans, records.search())
    for shown in (text, summary):
        assert "93.00%" in shown
        assert "overfitted" in shown
        assert "47.0 dB (16 samples)" in shown
    assert "0.656 → 0.6559 (1225 samples)" in summary
    assert "### Search" in summary


def test_what_the_page_draws_has_a_figure_for_every_point(plans):
    data = page_data.build(records.report(), records.precision(), plans, records.search())["search"]
    assert {len(column) for column in data.values() if isinstance(column, list)} == {5}
    assert data["noise"][0] == "inf"
    assert data["cost"][3] == 100.0
    assert data["changes"][1] == ["added norms of encoder.layer.0 (1)"]


def test_without_a_search_no_form_speaks_of_one(plans):
    given = records.report(), records.precision(), plans
    assert 'id="search-result"' not in html.render(*given)
    assert "### Search" not in markdown.render(*given)
    assert page_data.build(*given)["search"] is None


def test_a_lost_fusion_is_named_with_its_decision(plans):
    line = "lost fusion: norm\\_fusion: 1 kernels and 2.00 MB more, because of norm: a normalisation sums squares"
    assert line in markdown.render(records.report(), records.precision(), plans)
    page = html.render(records.report(), records.precision(), plans)
    assert "+2.00 MB" in page
    assert "only fused otherwise" not in page


def test_nodes_that_are_only_fused_otherwise_are_folded_away(tmp_path):
    given = records.plans(tmp_path / "x.plan")
    regrouped = dataclasses.replace(given.plans[0].lost[0], more_kernels=0, more_bytes=0)
    plans = EnginePlans(plans=(dataclasses.replace(given.plans[0], lost=(regrouped,)),))
    page = html.render(records.report(), records.precision(), plans)
    assert "None that costs a kernel." in page
    assert "1 groups of nodes that are only fused otherwise, in no more kernels" in page
