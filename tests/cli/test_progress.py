import io

import pytest
from rich.console import Console

from pipeline.cli import progress
from pipeline.cli.progress import Reporter


def reporter(verbosity=0, *, terminal=False):
    stream = io.StringIO()
    return stream, Reporter(
        verbosity=verbosity, console=Console(file=stream, force_terminal=terminal, width=100, highlight=False)
    )


def test_plain_lines_where_there_is_no_terminal():
    stream, report = reporter()
    with report:
        report.note("calibrate …")
        for done in range(100):
            report.advance("batches", done, 100)
    assert stream.getvalue() == "calibrate …\n  batches: 0 of 100\n"


def test_long_work_is_heard_of_again(monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    stream, report = reporter()
    with report:
        report.advance("batches", 1, 2)
        report.advance("batches", 2, 2)
    assert stream.getvalue() == "  batches: 1 of 2\n  batches: 2 of 2\n"


@pytest.mark.parametrize(("verbosity", "text"), [(-1, "warning: w\n"), (0, "n\n  x: 1\nwarning: w\n")])
def test_quiet_says_only_warnings(verbosity, text):
    stream, report = reporter(verbosity)
    with report:
        report.note("n")
        report.advance("x", 1)
        report.warn("w")
    assert stream.getvalue() == text
    assert report.warnings == ["w"]


def test_bars_on_a_terminal_leave_no_trace_but_the_notes():
    stream, report = reporter(terminal=True)
    with report:
        report.advance("batches [of 8]", 1, 2)
        report.note("[red]as it is[/red]")
    assert "[red]as it is[/red]" in stream.getvalue()
    assert "batches [of 8]" in stream.getvalue()
