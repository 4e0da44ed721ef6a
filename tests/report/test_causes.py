"""What breaks a model, as the terminal, the page and Markdown say it."""

import io
import json
import re

from rich.console import Console

from pipeline.core.artifacts import Cause, Injected, Kind
from pipeline.report import console, html, markdown
from tests import records

OWN = Injected(max_abs=1.0, relative_l2=0.5, sqnr_db=6.0, nonfinite=3)
CAUSE = Cause(
    nodes=("square", "mean"),
    tensor="square_out",
    op="Pow",
    module="encoder.<b>norm</b>",
    part="RMSNorm",
    kind=Kind.OVERFLOW,
    why="overflowed: 3 of 64 of its values are beyond 65504, the largest 1.7e+05",
    mend="keep square, mean in fp32 (precision.fp32); costs 2 more Casts",
    injected=OWN,
    spoilt=7,
)
REPORT = records.failed(
    layers=(records.layer("square", bad=True, reason="3 inf", why=CAUSE.why, injected=OWN),), causes=(CAUSE,)
)


def test_the_terminal_names_the_cause_and_the_module():
    stream = io.StringIO()
    console.show(Console(file=stream, width=100), REPORT)
    text = " ".join(stream.getvalue().split())
    assert f"cause: square (RMSNorm in encoder.<b>norm</b>) {CAUSE.why} {CAUSE.mend}" in text
    assert "encoder.proj 100.0% 1 1" in text
    assert max(len(line) for line in stream.getvalue().splitlines()) <= 100


def test_the_page_shows_it_as_text_and_carries_the_tree(tmp_path):
    page = html.render(REPORT, records.precision(), records.plans(tmp_path / "x.plan"))
    assert CAUSE.why in page
    assert "7 bad layers inherit from it." in page
    assert "encoder.&lt;b&gt;norm&lt;/b&gt;" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1])
    assert data["made"]["id"] == ["", "encoder", "encoder.proj"]
    assert data["made"]["share"] == [1.0, 1.0, 1.0]
    assert (data["layers"]["ownNonfinite"], data["layers"]["why"]) == ([3], [CAUSE.why])


def test_a_page_without_causes_has_no_such_part(tmp_path):
    page = html.render(records.report(), records.precision(), records.plans(tmp_path / "x.plan"))
    assert 'id="causes"' not in page


def test_markdown_lists_it(tmp_path):
    text = markdown.render(REPORT, records.precision(), records.plans(tmp_path / "x.plan"))
    assert "- cause: square (RMSNorm): overflowed: 3 of 64" in text
