"""The page in headless Chromium: its script runs, its charts are drawn, its table shows the rows in sight."""

import re

import pytest

from pipeline.report import html
from tests import browser, records

pytestmark = browser.needed


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """The page after its script ran, and what the browser's console said."""
    folder = tmp_path_factory.mktemp("page")
    page = folder / "report.html"
    page.write_text(
        html.render(*records.large(5000), records.plans(folder / "x.plan"), records.search()), encoding="utf-8"
    )
    return browser.opened(page)


def test_the_script_runs_to_its_end_without_a_word_in_the_console(opened):
    page, console = opened
    assert '<html lang="en" data-ready="true">' in page
    assert console == []


def test_charts_are_drawn(opened):
    page, _ = opened
    assert page.count('class="main-svg"') >= 3
    assert "over budget (1)" in page
    assert "default policy" in page
    assert len(re.findall(r'<path class="point[ "]', page)) > 4000
    assert "treemaplayer" in page


def test_only_the_rows_in_sight_exist(opened):
    page, _ = opened
    assert "5000 of 5000" in page
    assert 10 <= len(re.findall(r'<div class="row[ "]', page)) <= 60


def test_hostile_names_made_no_element(opened):
    page, _ = opened
    assert "onerror=" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL).replace(
        "&lt;img src=x onerror=", ""
    )
