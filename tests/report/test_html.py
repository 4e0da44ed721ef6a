import base64
import gzip
import json
import math
from html.parser import HTMLParser

import pytest

from pipeline.core.artifacts import Origin
from pipeline.report import html
from tests import records


class Page(HTMLParser):
    """Elements, their attributes, and the text of scripts by id."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.text = [], {}, []
        self._script = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self._script = dict(attrs).get("id", "code")

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script is None:
            self.text.append(data)
        else:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return Page(html.render(*records.large(600), records.plans(tmp_path_factory.mktemp("plan") / "x.plan")))


def test_nothing_is_fetched(page):
    sources = [value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href")]
    assert all(value.startswith(("#", "data:")) for value in sources)
    assert "@import" not in "".join(page.text)


def test_hostile_names_stay_text(page):
    assert "img" not in {tag for tag, _ in page.tags}
    assert all(not name.startswith("on") for _, attrs in page.tags for name in attrs)
    data = json.loads(page.scripts["data"])
    assert any(name.startswith("</script><img") for name in data["layers"]["tensor"])
    assert "<" not in page.scripts["data"]
    assert any("large <b>&amp;</b>" in text for text in page.text)


def test_every_layer_is_in_the_page_with_all_its_columns(page):
    layers = json.loads(page.scripts["data"])["layers"]
    assert {len(column) for column in layers.values()} == {600}
    assert "nan" in layers["sqnr"]
    assert layers["rule"][2] == "LayerNormalization-rule"


def test_the_chart_library_is_the_one_in_its_package(page):
    unpacked = gzip.decompress(base64.b64decode(page.scripts["library"]))
    assert b"plotly.js v" in unpacked[:200]


def test_it_names_light_and_dark_and_fits_a_phone(page):
    assert ("meta", {"name": "color-scheme", "content": "light dark"}) in page.tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.tags
    assert any("prefers-color-scheme: dark" in text for text in page.text)


def test_the_time_that_a_build_took_does_not_change_the_page(tmp_path):
    quick, slow = (records.plans(tmp_path / "x.plan", seconds=seconds) for seconds in (1.0, 9.0))
    first, second = (html.render(records.report(), records.precision(), plans) for plans in (quick, slow))
    assert first == second


@pytest.mark.parametrize("origin", list(Origin))
def test_each_origin_labels_its_figures(origin, tmp_path):
    report = records.report(outputs=(records.output(origin=origin),), tasks=())
    page = Page(html.render(report, records.precision(), records.plans(tmp_path / "x.plan")))
    assert ("span", f"origin {origin}") in {(tag, attrs.get("class")) for tag, attrs in page.tags}
    assert "This engine has no task metric." in "".join(page.text)


def test_modules_add_up(page):
    modules = json.loads(page.scripts["data"])["modules"]
    nodes = dict(zip(modules["id"], modules["nodes"], strict=True))
    assert nodes["model"] == 600
    children = [
        count
        for parent, count in zip(modules["parent"], modules["nodes"], strict=True)
        if parent == "model/encoder/layer"
    ]
    assert sum(children) == nodes["model/encoder/layer"]


def test_a_report_with_nothing_in_it_still_makes_a_page(tmp_path):
    empty = records.report(
        passed=False, failures=("no layer was compared",), layers=(), outputs=(), tasks=(), canonical={}
    )
    plans = records.plans(tmp_path / "x.plan", text=None, checks=(), warnings=("w",))
    page = Page(html.render(empty, records.precision(), plans))
    assert "no layer was compared" in "".join(page.text)
    assert "Not observable: this plan's text cannot be read here." in "".join(page.text)


def test_five_thousand_layers_stay_a_small_page(tmp_path):
    text = html.render(*records.large(5000), records.plans(tmp_path / "x.plan"))
    assert len(text) < 6e6
    assert text.count("<tr>") < 200, "rows of the big table are made as they come into sight"
    assert math.isfinite(len(text))
