"""`trt-pipeline regress --with …`: the same engines in environments with other versions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode

WIDTH = 160
"""Columns of the table: it is wide, and made for a log."""


def run(
    context: Context, engines: Sequence[str], asked: Sequence[str], *, markdown: Path | None, as_json: bool
) -> ExitCode:
    """Run the matrix and print its table; 1 unless every engine ran and is no worse in every environment."""
    from pipeline.flow import STORE
    from pipeline.regress import environments, matrix

    wanted = [environments.of(text, context.root / STORE) for text in asked]
    with context.reporter() as progress:
        cells = matrix.run(wanted, engines, root=context.root, progress=progress)
    if markdown is not None:
        from pipeline.report.markdown import table

        with markdown.open("a", encoding="utf-8") as stream:
            stream.write(table(matrix.HEADERS, matrix.rows(cells)) + "\n")
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps(cells), nl=False)
    else:
        from rich.console import Console

        from pipeline.cli import screen

        screen.grid(Console(highlight=False, width=WIDTH), matrix.HEADERS, matrix.rows(cells))
    return ExitCode.OK if all(cell.passed for cell in cells) else ExitCode.NOT_PASSED
