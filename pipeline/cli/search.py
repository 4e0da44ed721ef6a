"""`trt-pipeline search`: the cheapest precision plan within the error budget."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from pipeline.cli import options
from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode
from pipeline.core.spec import CostSource

if TYPE_CHECKING:
    from pipeline.core.artifacts import SearchResult
    from pipeline.flow import Results

BUDGET = {"sqnr": "sqnr_db", "atol": "atol", "rtol": "rtol", "task": "task"}
"""What a budget may name, and the key of `[precision.search]` that says so in a spec."""


class Limit(click.ParamType[tuple[str, float]]):
    """One part of the budget, such as `sqnr=50`."""

    name = "key=value"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, float]:
        """The key in the spec, and its value."""
        key, separator, text = str(value).partition("=")
        if not separator or key not in BUDGET:
            self.fail(f"{value!r} is not of the form KEY=VALUE with KEY one of {', '.join(BUDGET)}", param, ctx)
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            self.fail(f"{text!r} is not a number that is finite and not negative", param, ctx)
        return BUDGET[key], number


@click.command()
@options.engine_name
@options.weights
@options.targets
@click.option(
    "--budget",
    type=Limit(),
    multiple=True,
    metavar="KEY=VALUE",
    help="sqnr (dB of every output, at least), atol, rtol (of every output), task (worsening of the task metric, at "
    "most); may be given several times. Default: the spec's tolerances.",
)
@click.option("--samples", type=click.IntRange(1), help="Calibration samples to try plans on. Default: the spec's, 8.")
@click.option("--trials", type=click.IntRange(2), help="Plans to try at most. Default: the spec's, 100.")
@click.option(
    "--cost",
    type=click.Choice([str(source) for source in CostSource]),
    help="Where costs come from: counted on the graph, or measured, on the GPU at hand, of the plans that are to be "
    "decided between. Default: the spec's, counted.",
)
@options.as_json
@click.pass_context
def search(
    ctx: click.Context,
    name: str,
    weights: str,
    targets: tuple[str, ...],
    budget: tuple[tuple[str, float], ...],
    samples: int | None,
    trials: int | None,
    cost: str | None,
    as_json: bool,
) -> None:
    """Find the precision plan of least cost that keeps the engine NAME within an error budget.

    Starts from what can never be fp16 and from the default policy, frees what fp32 does not help and adds what is
    missing. Plans are tried on calibration samples and confirmed on samples that the search never saw. Stopped, it
    goes on where it was. `trt-pipeline engine NAME --policy search` takes the plan on to a bundle.

    Exits 1 where only the default policy's plan was left and that does not hold on unseen samples either.
    """
    from pipeline import flow

    context: Context = ctx.obj
    given = {**dict(budget), "samples": samples, "trials": trials, "cost": None if cost is None else CostSource(cost)}
    changed = {key: value for key, value in given.items() if value is not None}
    chosen = flow.Options(weights=weights, policy="search", targets=targets or None, search=changed)
    with context.reporter() as progress:
        results = flow.run(name, root=context.root, options=chosen, progress=progress, until="search")
    found: SearchResult = results.artifact("search")
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps(found), nl=False)
    else:
        _show(results, found, changed)
    ctx.exit(ExitCode.OK if found.confirmations[-1].passed else ExitCode.NOT_PASSED)


def _show(results: Results, found: SearchResult, changed: Mapping[str, float | CostSource]) -> None:
    from pipeline.cli import screen
    from pipeline.report import search_console

    output = screen.console()
    search_console.show(output, found)
    name = results.spec.name
    if changed:
        output.print("\nto keep this budget, in engine.toml under \\[precision.search]:")
        for key, value in changed.items():
            click.echo(f'{key} = "{value}"' if isinstance(value, CostSource) else f"{key} = {value:g}")
    screen.facts(output, [("go on with it", f"trt-pipeline engine {name} --policy search")])
