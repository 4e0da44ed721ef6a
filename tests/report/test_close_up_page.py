"""The page of single tensors: what it says, that names cannot break it, and that its script runs."""

import json
import re
from pathlib import Path

from pipeline.analysis.comparison.close_up import CloseUp, Element
from pipeline.analysis.comparison.histograms import Histogram
from pipeline.core.artifacts import Injected
from pipeline.report import close_up
from tests import browser, records

HOSTILE = "</script><img src=x onerror=alert(1)>"


def look(**more):
    values = Histogram(edges=(-1.0, 0.0, 1.0), counts=(3, 5), nan=1)
    given = {
        "tensor": HOSTILE,
        "node": "proj",
        "op": "MatMul",
        "module": "encoder",
        "operands": ("x",),
        "shapes": ((2, 4),),
        "passed": False,
        "criterion": "Polygraphy's comparator, each element within atol 0.05 or rtol 0.05",
        "stats": records.stats(30.0),
        "injected": Injected(max_abs=0.1, relative_l2=0.1, sqnr_db=20.0),
        "reference": values,
        "candidate": values,
        "error": Histogram(edges=(0.25, 0.5, 1.0), counts=(2, 1), zeros=5),
        "worst": (Element(batch=1, index=(0, 3), reference=1.5, candidate=2.25, alone=1.5),),
        "file": Path("proj.npz"),
    }
    return CloseUp(**{**given, **more})


def test_the_page_holds_figures_elements_and_where_the_arrays_are():
    page = close_up.render("tiny", (look(),))
    assert "refused" in page
    assert "<td>[0, 3]</td>" in page
    assert "<code>proj.npz</code>" in page
    assert HOSTILE not in page
    data = re.search(r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data[1])[0]["error"]["counts"] == [2, 1]


@browser.needed
def test_charts_are_drawn_and_the_console_stays_empty(tmp_path):
    page = tmp_path / "index.html"
    page.write_text(close_up.render("tiny", (look(), look(tensor="other", worst=()))), encoding="utf-8")
    text, console = browser.opened(page)
    assert 'data-ready="true"' in text
    assert text.count('class="main-svg"') >= 4
    assert console == []
