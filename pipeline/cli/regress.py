"""`trt-pipeline regress`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options
from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from pipeline.regress.compare import Comparison


@click.command()
@click.argument("names", type=options.EngineName(), nargs=-1)
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Write JUnit XML here.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="Write Markdown here, at its end.")
@click.option(
    "--with",
    "environments",
    multiple=True,
    metavar="REQ[,REQ…]",
    help="Run in a fresh environment with other versions, such as tensorrt-rtx==1.6.1.120; may be given several times.",
)
@options.as_json
@click.pass_context
def regress(
    ctx: click.Context,
    names: tuple[str, ...],
    junit: Path | None,
    markdown: Path | None,
    environments: tuple[str, ...],
    as_json: bool,
) -> None:
    """Rebuild engines from their specs and hold them to engines/NAME/baseline.json.

    Without NAMES, all that have a baseline. Exits 0 when nothing is worse, 1 when something is (or validation did not
    pass), 3 when an engine that was asked for has no baseline. With --with, also prints a table of environments.
    """
    context: Context = ctx.obj
    chosen = _chosen(context, names)
    if environments:
        from pipeline.cli.matrix import run

        ctx.exit(run(context, chosen, environments, markdown=markdown, as_json=as_json))
    comparisons = _compared(context, chosen)
    _write(comparisons, junit, markdown)
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps(comparisons), nl=False)
    else:
        from pipeline.regress import forms

        click.echo(forms.text(comparisons), nl=False)
    ctx.exit(ExitCode.OK if all(item.passed for item in comparisons) else ExitCode.NOT_PASSED)


def _chosen(context: Context, names: Sequence[str]) -> list[str]:
    """The engines asked for, each known to have a baseline before any is built."""
    from pipeline.core.errors import BaselineError
    from pipeline.regress import run

    chosen = list(dict.fromkeys(names)) or run.with_baseline(context.root)
    if not chosen:
        raise BaselineError(
            "no engine has a baseline",
            where=str(context.root / "engines"),
            hint="make one from a state that is known to be good: trt-pipeline baseline update NAME",
        )
    for name in chosen:
        run.required(name, root=context.root)
    return chosen


def _compared(context: Context, names: Sequence[str]) -> list[Comparison]:
    from pipeline.regress import run

    found = []
    for name in names:
        with context.reporter() as progress:
            found.append(run.regress(name, root=context.root, progress=progress))
    return found


def _write(comparisons: Sequence[Comparison], junit: Path | None, markdown: Path | None) -> None:
    from pipeline.regress import forms

    if junit is not None:
        junit.write_text(forms.xml(comparisons), encoding="utf-8")
    if markdown is not None:  # $GITHUB_STEP_SUMMARY may hold something already
        with markdown.open("a", encoding="utf-8") as stream:
            stream.write(forms.markdown(comparisons))
