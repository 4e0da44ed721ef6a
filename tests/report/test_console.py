import io
import re

import pytest
from rich.console import Console

from pipeline.core.artifacts import Check
from pipeline.report import console, html, markdown
from tests import records


def shown(report, *, width=100, terminal=False, **more):
    stream = io.StringIO()
    console.show(Console(file=stream, width=width, force_terminal=terminal, highlight=False), report, **more)
    return stream.getvalue()


def test_a_passed_report():
    text = shown(records.report(), where="engines/tiny/build/report.html")
    assert text.startswith("PASSED  tiny, policy sensitive: 2 of 2 layers compared, 0 bad\n")
    assert "y" in text
    assert "60.0 dB, floor 40 dB" in text
    assert re.search(r"similarity +0.656 +0.6559 +emulated", text)
    assert "not run: engine: no GPU on this machine" in text
    assert text.endswith("full report: engines/tiny/build/report.html\n")


def test_a_failed_report_names_the_failure_and_the_layer():
    text = shown(records.failed())
    assert text.startswith("NOT PASSED  tiny")
    assert "proj_out (MatMul in fp16): 12.0 dB" in text
    assert "50.0 dB under the floor" in " ".join(text.split())


def test_seeded_weights_are_named_in_the_verdict_line():
    assert "SEEDED WEIGHTS" in shown(records.report(provenance=records.SEEDED)).splitlines()[0]


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [100, 60])
def test_nothing_is_wider_than_the_screen(terminal, width):
    report, _ = records.large(600)
    text = Console(file=io.StringIO()).render_str(shown(report, width=width)).plain
    assert max(len(line) for line in text.splitlines()) <= width


def test_without_a_terminal_there_are_no_escape_codes():
    assert "\x1b" not in shown(records.failed())


def test_names_that_look_like_markup_are_printed_as_they_are():
    layer = records.layer("[red]node[/red]", bad=True, reason="[bold]overflowed[/]", stats=records.stats(1.0))
    text = shown(records.report(passed=False, layers=(layer,), failures=("[link]x",)))
    assert "[red]node[/red]" in text
    assert "[link]x" in text


MADE = Check(
    name="rescaled",
    passed=True,
    summary="1 of 5 linear layers out of range are held times powers of two",
    notes=("up: held times 2^-3",),
    unobservable=tuple(f"proj_{index} is left out of range: [why]" for index in range(4)),
)


def test_what_was_changed_beyond_casts_is_told_with_what_was_left():
    lines = [line.rstrip() for line in shown(records.report(made=(MADE,))).splitlines()]
    assert lines[1:6] == [
        "  rescaled: 1 of 5 linear layers out of range are held times powers of two",
        "  up: held times 2^-3",
        "  proj_0 is left out of range: [why]",
        "  proj_1 is left out of range: [why]",
        "  and 2 more",
    ]


def test_what_was_changed_beyond_casts_stands_in_every_form(tmp_path):
    report, plans = records.report(made=(MADE,)), records.plans(tmp_path / "x.plan")
    page = html.render(report, records.precision(), plans)
    for text in (page, markdown.render(report, records.precision(), plans)):
        assert "1 of 5 linear layers out of range are held times powers of two" in text
        assert "up: held times 2^-3" in text
    assert "proj_3 is left out of range: [why]" in page
