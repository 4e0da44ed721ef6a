"""The report says what decisions rest on, what calibration may have missed, and what extremes showed."""

import dataclasses
import io
import math

import pytest
from rich.console import Console

from pipeline.cli import artifacts, readable
from pipeline.core.artifacts import Basis, Extreme, Growing
from pipeline.core.formats import Format
from pipeline.report import console, grounds, html, markdown
from tests import records

BROKEN = Extreme(
    name="everything masked", inputs="ids 1 x 4", broken=3, first="s (Softmax in layer.0)", sqnr_db=math.nan
)
SOUND = Extreme(name="largest sizes", inputs="ids 1 x 8", sqnr_db=61.5, note="capped at sequence 8 of 16")
GROWING = Growing(tensor="residual", magnitudes=(4000.0, 6000.0), limit=65504.0)


def plan(*bases):
    """A plan whose fp16 nodes rest on these."""
    one = dataclasses.replace(records.precision().decisions[1], margin=12.0, bound=1e5)
    low = [dataclasses.replace(one, node=f"n{i}", basis=basis) for i, basis in enumerate(bases)]
    return dataclasses.replace(records.precision(), decisions=(records.precision().decisions[0], *low))


def test_the_summary_counts_proof_samples_and_words():
    found = grounds.summary(plan(Basis.PROOF, Basis.PROOF, Basis.SAMPLES, Basis.USER))
    assert found == (
        "4 nodes are in a low format: 2 by proof, whatever the input is, 1 at risk beyond the samples "
        "(what calibration saw is at least 12 times under the limit), 1 by a user's word."
    )
    assert grounds.summary(plan()) == "No node computes in a low format."


def test_the_least_margin_is_named_first():
    first = dataclasses.replace(plan(Basis.SAMPLES).decisions[1], node="near", margin=5.0)
    given = plan(Basis.SAMPLES, Basis.PROOF)
    given = dataclasses.replace(given, decisions=(*given.decisions, first))
    assert [item.node for item in grounds.at_risk(given)] == ["near", "n0"]


def test_extremes_are_summed_up_and_listed():
    assert grounds.extremes(records.report()) is None
    assert grounds.extremes(records.report(extremes=(SOUND,))) == "1 extremes tried, all finite: largest sizes"
    broken = records.report(extremes=(SOUND, BROKEN))
    assert grounds.extremes(broken) == "1 of 2 extremes broke it: everything masked"
    assert list(grounds.extreme_rows(broken)) == [
        ("largest sizes", "ids 1 x 8", "61.5 dB", "finite wherever fp32 is (capped at sequence 8 of 16)"),
        (
            "everything masked",
            "ids 1 x 4",
            "nan dB",
            "s (Softmax in layer.0) is NaN or infinite where fp32 is finite, 3 layers in all",
        ),
    ]


@pytest.fixture
def given(tmp_path):
    norm, proven, seen = plan(Basis.PROOF, Basis.SAMPLES).decisions
    decisions = (norm, proven, dataclasses.replace(seen, node="proj"))
    full = dataclasses.replace(records.precision(), decisions=decisions, growing=(GROWING,))
    return records.report(extremes=(SOUND, BROKEN)), full, records.plans(tmp_path / "x.plan")


def test_the_page_has_a_table_of_extremes_and_of_what_is_at_risk(given):
    page = html.render(*given)
    assert '<section id="extremes">' in page
    assert "everything masked" in page
    assert "1 node at risk beyond the samples" in page
    assert "residual: 4e+03 → 6e+03 after each batch, limit 65504" in page
    assert "1\u00a0by\u00a0proof, 1\u00a0by\u00a0samples" in page
    assert "samples: 12 times under the limit, bounds allow 1e+05" in page


def test_a_page_without_extremes_has_no_such_section(given):
    assert 'id="extremes"' not in html.render(records.report(), *given[1:])


def test_the_pull_request_has_them_too(given):
    text = markdown.render(*given)
    assert "| extreme | inputs | SQNR | verdict |" in text
    assert "1 at risk beyond the samples" in text


def test_the_terminal_says_what_became_of_extremes(given):
    screen = Console(record=True, width=100, file=io.StringIO())
    console.show(screen, given[0])
    assert "1 of 2 extremes broke it: everything masked" in screen.export_text()


def test_inspect_shows_what_decisions_rest_on(given, capsys):
    readable.show_decisions(given[1])
    assert "proof: at most 1e+05" in " ".join(capsys.readouterr().out.split())
    screen = Console(record=True, width=200, file=io.StringIO())
    artifacts.show(given[1], screen)
    text = " ".join(screen.export_text().split())
    assert "1 by proof, whatever the input is" in text
    assert "growing residual: 4e+03 → 6e+03" in text


def test_bf16_counts_as_a_low_format():
    wide = dataclasses.replace(plan(Basis.SAMPLES).decisions[1], operands=Format.BF16, result=Format.FP32)
    assert grounds.narrow(dataclasses.replace(plan(), decisions=(wide,))) == [wide]
