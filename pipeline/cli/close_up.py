"""What `trt-pipeline validate --layer` writes and prints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.analysis.comparison.close_up import CloseUp
    from pipeline.analysis.comparison.histograms import Histogram
    from pipeline.flow import Results

BARS = " ▁▂▃▄▅▆▇█"
COLUMNS = 64
"""Width of a histogram."""


def show(context: Context, results: Results, layers: tuple[str, ...], *, as_json: bool) -> ExitCode:
    """Look at `layers`, write what was seen beside the other results, and print it.

    Returns:
        1 where Polygraphy's comparator refuses one of them.
    """
    from pipeline.core import serde
    from pipeline.report import close_up as page

    folder = results.folder.with_name(f"{results.folder.name}-layers")
    folder.mkdir(exist_ok=True)
    found = _look(context, results, layers, folder)
    (folder / "index.json").write_text(serde.dumps(found), encoding="utf-8")
    (folder / "index.html").write_text(page.render(results.spec.name, found), encoding="utf-8")
    if as_json:
        click.echo(serde.dumps(found), nl=False)
    else:
        _print(context, found, folder)
    return ExitCode.OK if all(item.passed for item in found) else ExitCode.NOT_PASSED


def _look(context: Context, results: Results, layers: tuple[str, ...], folder: Path) -> tuple[CloseUp, ...]:
    from pipeline.analysis.comparison.close_up import close_up
    from pipeline.graph import io
    from pipeline.precision.emulation.emulate import emulate

    reference, mixed = results.artifact("canonicalise"), results.mixed
    with context.reporter() as progress:
        return close_up(
            io.load(reference.path),
            emulate(io.load(mixed.path)),
            mixed.fates,
            layers,
            results.artifact("draw").validation.batches,
            results.spec.inputs,
            results.spec.tolerances,
            folder,
            progress,
        )


def _print(context: Context, found: tuple[CloseUp, ...], folder: Path) -> None:
    from rich.text import Text

    from pipeline.cli import screen
    from pipeline.report import figures

    output = screen.console()
    for item in found:
        mark = Text("PASSED", "bold green") if item.passed else Text("NOT PASSED", "bold red")
        output.print(mark + Text(f"  {item.tensor}", "default") + Text(f"  {_shapes(item)}", "dim"))
        place = f"{item.op} {item.node}" + (f" in {item.module}" if item.module else "")
        stats = item.stats
        screen.facts(
            output,
            [
                ("made by", place),
                ("judged by", item.criterion),
                (
                    "error",
                    f"SQNR {figures.db(stats.sqnr_db)}, largest {stats.max_abs:.3g} of {stats.elements:,} elements",
                ),
                ("of its node", f"SQNR {figures.db(item.injected.sqnr_db)} alone, on the reference's operands"),
                ("reference", _values(item.reference)),
                ("candidate", _values(item.candidate)),
                ("|error|", _magnitudes(item.error)),
            ],
        )
        _worst(output, item)
    page, arrays = (screen.relative(path, context.root) for path in (folder / "index.html", folder))
    output.print(Text("close up: ") + Text(page, "bold") + Text(f"; arrays: {arrays}/*.npz"), soft_wrap=True)


def _worst(output: Console, item: CloseUp) -> None:
    from pipeline.cli import screen

    rows = [
        (
            f"{element.batch}: {list(element.index)}",
            f"{element.reference:.6g}",
            f"{element.candidate:.6g}",
            f"{element.alone:.6g}",
            f"{element.candidate - element.reference:.3g}",
        )
        for element in item.worst
    ]
    if rows:
        headers = ["batch: index", ">reference", ">candidate", ">node alone", ">difference"]
        screen.grid(output, headers, rows, title="elements that differ most")


def _shapes(item: CloseUp) -> str:
    shapes = dict.fromkeys(" × ".join(map(str, shape)) or "scalar" for shape in item.shapes)
    first = list(shapes)[:3]
    return ", ".join(first) + (", …" if len(shapes) > len(first) else "")


def _values(histogram: Histogram) -> str:
    """The bins between the outermost that hold something."""
    seen = [at for at, count in enumerate(histogram.counts) if count] or [0]
    first, last = seen[0], seen[-1] + 1
    edges = f"{histogram.edges[first]:.3g} to {histogram.edges[last]:.3g}"
    return f"{_bars(histogram.counts[first:last])}\n{edges}{_others(histogram)}"


def _magnitudes(histogram: Histogram) -> str:
    zeros = f"{histogram.zeros:,} are equal{_others(histogram)}"
    if not histogram.counts:
        return zeros
    shown, edges = histogram.counts[-COLUMNS:], histogram.edges[-COLUMNS - 1 :]
    return f"{_bars(shown)}\n{edges[0]:.3g} to {edges[-1]:.3g}, a power of two a column; {zeros}"


def _others(histogram: Histogram) -> str:
    counted = ((histogram.nan, "NaN"), (histogram.inf, "infinities"))
    return "".join(f", {count:,} {name}" for count, name in counted if count)


def _bars(counts: tuple[int, ...]) -> str:
    """One block a bin, as high as its count; what is not empty can be seen."""
    most = max(counts, default=0) or 1
    return "".join(BARS[0 if count == 0 else max(1, round(count / most * (len(BARS) - 1)))] for count in counts)
