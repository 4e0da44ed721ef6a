"""`trt-pipeline engine`: the whole line for one engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pipeline.cli import options
from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode
from pipeline.core.artifacts import Overrides
from pipeline.core.order import ORDER

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.bundle.signing import Signer
    from pipeline.core.draw import Draw
    from pipeline.flow import Results

STAGES = tuple(name for name in ORDER if name != "render")


@click.command()
@options.engine_name
@options.run_options
@click.option(
    "--until",
    type=click.Choice(STAGES),
    default="ship",
    show_default=True,
    metavar="STAGE",
    help=f"Last stage to run: {', '.join(STAGES)}.",
)
@click.option(
    "--compensate",
    is_flag=True,
    help="Take the mean error of rounding out of biases, where held-out samples are then nearer to fp32.",
)
@options.as_json
@click.pass_context
def engine(
    ctx: click.Context,
    name: str,
    weights: str,
    policy: str | None,
    targets: tuple[str, ...],
    until: str,
    compensate: bool,
    as_json: bool,
) -> None:
    """Take the engine NAME through every stage to a bundle that is safe to ship.

    Only what changed since the last run is done again. Exits 0 when a bundle was made, 1 when validation did not
    pass. With seeded weights (`auto` where the hub cannot be reached) it exits 0 when validation passes, makes no
    bundle, and NOT SHIPPABLE is its last line.
    """
    context: Context = ctx.obj
    results = run(context, name, weights=weights, policy=policy, targets=targets, until=until, compensate=compensate)
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps(summary(context, results)), nl=False)
    else:
        show(context, results, until)
    ctx.exit(exit_code(results))


def run(
    context: Context,
    name: str,
    *,
    weights: str,
    policy: str | None,
    targets: tuple[str, ...],
    until: str,
    draw: Draw | None = None,
    gpu_check: bool = False,
    compensate: bool = False,
    overrides: Overrides | None = None,
    signer: Signer | None = None,
    strip_names: bool = False,
) -> Results:
    """Run the line for one engine, showing progress on stderr; who validates gets the written report too."""
    from pipeline import flow

    until = "render" if until == "validate" else until
    chosen = flow.Options(
        weights=weights,
        policy=policy,
        targets=targets or None,
        draw=draw,
        gpu_check=gpu_check,
        compensate=compensate,
        overrides=overrides or Overrides(),
        signer=signer,
        strip_names=strip_names,
    )
    with context.reporter() as progress:
        return flow.run(name, root=context.root, options=chosen, progress=progress, until=until)


def exit_code(results: Results) -> ExitCode:
    """0 unless a verdict was reached and is not good, or a bundle was refused for more than seeded weights."""
    report = results.artifact("validate")
    if results.refused is not None and not results.seeded:
        return ExitCode.NOT_PASSED
    return ExitCode.OK if report is None or report.passed else ExitCode.NOT_PASSED


def summary(context: Context, results: Results) -> dict[str, Any]:
    """What a script wants to know of a run."""
    report = results.artifact("validate")
    bundle = results.artifact("ship")
    return {
        "engine": results.spec.name,
        "folder": results.folder,
        "passed": None if report is None else report.passed,
        "shippable": results.shippable,
        "refused": results.refused,
        "seeded": results.seeded,
        "failures": () if report is None else report.failures,
        "outputs": () if report is None else report.outputs,
        "tasks": () if report is None else report.tasks,
        "bundle": None if bundle is None else results.folder / "bundle",
        "manifest": None if bundle is None else bundle.digest,
        "fresh": results.fresh,
        "reused": results.reused,
    }


def show(context: Context, results: Results, until: str) -> None:
    """Print what a person wants to know of a run; whether it can be shipped comes last."""
    from pipeline.cli import artifacts, screen
    from pipeline.report import console

    output = screen.console()
    report = results.artifact("validate")
    if report is None:
        artifacts.show(results.artifact(until), output)
    else:
        console.show(output, report, where=screen.relative(results.folder / "report.html", context.root))
    if context.verbosity > 0:
        screen.facts(output, [("ran", ", ".join(results.fresh)), ("found", ", ".join(results.reused))])
    if results.shippable and report is not None and not report.passed:
        _last(
            output,
            "NOT VALIDATED",
            "red",
            f"shipped all the same: {screen.relative(results.folder / 'bundle', context.root)}",
        )
    elif results.shippable:
        _last(output, "SHIPPABLE", "green", screen.relative(results.folder / "bundle", context.root))
    elif results.seeded or (report is not None and until == "ship"):
        _last(output, "NOT SHIPPABLE", "red", results.refused or "the weights are seeded, not the real ones")


def _last(output: Console, verdict: str, colour: str, text: str) -> None:
    from rich.text import Text

    output.print(Text(verdict, f"bold {colour}") + Text(f"  {text}", "default"))
