"""`trt-pipeline baseline`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli import options
from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from pipeline.regress.run import Proposal


@click.group()
def baseline() -> None:
    """What `regress` holds an engine to: engines/NAME/baseline.json."""


@baseline.command()
@options.engine_name
@click.option(
    "--weights",
    type=click.Choice(["auto", "pretrained", "seeded"]),
    default="auto",
    show_default=True,
    help="Weights to take it of; a baseline of seeded ones says so, and is compared with seeded ones only.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def update(ctx: click.Context, name: str, weights: str, yes: bool) -> None:
    """Make the baseline of the engine NAME from what it is now.

    Runs the line, validates several times to measure how steady each figure is, shows what differs from the baseline
    that is there, and asks. What did not pass validation is never made a baseline.
    """
    from pipeline.regress import baseline as baselines
    from pipeline.regress import run

    context: Context = ctx.obj
    with context.reporter() as progress:
        proposal = run.propose(name, root=context.root, weights=weights, progress=progress)
    _show(proposal)
    if not (yes or click.confirm("write this baseline?", default=False)):
        click.echo("nothing was written")
        ctx.exit(ExitCode.NOT_PASSED)
    click.echo(f"written: {baselines.write(proposal.baseline, proposal.folder)}")


def _show(proposal: Proposal) -> None:
    from pipeline.regress import forms

    if proposal.comparison is not None:
        click.echo(forms.text([proposal.comparison]), nl=False)
    bounds, figures = proposal.baseline.bounds, proposal.baseline.figures
    click.echo(
        f"{figures.engine}, weights {figures.weights.source}: {len(figures.modules)} modules, "
        f"spread of {bounds.repeats} validations with sums off by up to {bounds.epsilon:.2g}"
    )
    for name, item in figures.outputs.items():
        click.echo(f"  output {name}: {item.sqnr_db:.2f} dB, at least {bounds.outputs[name]:.2f} dB from now on")
    for name, task in figures.tasks.items():
        click.echo(f"  task {name}: {task.candidate:.6g}, worse by at most {bounds.tasks[name]:.2g} from now on")
