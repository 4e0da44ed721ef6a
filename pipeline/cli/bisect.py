"""`trt-pipeline bisect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options
from pipeline.cli.context import Context

if TYPE_CHECKING:
    from pipeline.analysis.bisection.bisect import Bisection, Return
    from pipeline.flow import Results

FILE = "bisect.toml"


@click.command()
@options.engine_name
@options.run_options
@options.as_json
@click.pass_context
def bisect(
    ctx: click.Context, name: str, weights: str, policy: str | None, targets: tuple[str, ...], as_json: bool
) -> None:
    """Find the nodes whose return to fp32 makes a failing mixed graph pass, and not one more.

    Takes the mixed graph of the engine NAME under its policy, or under --policy (all-fp16 shows what fp16 breaks).
    Writes a policy file with what it found. Exits 0 also where the graph passes as it is.
    """
    from pipeline.cli import engine

    context: Context = ctx.obj
    results = engine.run(context, name, weights=weights, policy=policy, targets=targets, until="search")
    found = _search(context, results)
    file = _write(results, found) if found.returned else None
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps({"engine": name, "policy_file": file, "found": found}), nl=False)
    else:
        _show(context, results, found, file)


def _search(context: Context, results: Results) -> Bisection:
    from pipeline.analysis.bisection import bisect as search
    from pipeline.analysis.bisection.trials import Case

    spec = results.spec
    case = Case(
        exported=results.artifact("export"),
        reference=results.reference,
        plan=results.plan,
        ranges=results.ranges.tensors,
        samples=results.artifact("sample"),
        inputs=spec.inputs,
        task=spec.task,
        tolerances=spec.tolerances,
    )
    with context.reporter() as progress:
        return search.bisect(case, progress)


def _write(results: Results, found: Bisection) -> Path:
    """The policy with the nodes found, beside the results of the same policy."""
    from pipeline.precision.policy import policy_file, policy_text

    settings = policy_file.settings(results.spec.precision, results.spec.folder)
    head = f"found by `trt-pipeline bisect {results.spec.name} --policy {found.policy}`"
    results.folder.mkdir(exist_ok=True)
    file = results.folder / FILE
    file.write_text(policy_text.with_fp32(settings, _comments(found), head=head), encoding="utf-8")
    return file


def _comments(found: Bisection) -> dict[str, str]:
    return {item.node: f"{_place(item)}: {item.reason}" for item in found.returned}


def _place(item: Return) -> str:
    return f"{item.op} in {item.module}" if item.module else item.op


def _show(context: Context, results: Results, found: Bisection, file: Path | None) -> None:
    from pipeline.cli import screen
    from pipeline.precision.policy.policy_text import fp32_lines

    output = screen.console()
    screen.facts(
        output,
        [
            ("policy", f"{found.policy}, {found.rounding} nodes round"),
            ("passes when", found.criterion),
            ("as it is", ("passes: " if found.before.passed else "fails: ") + found.before.reason),
        ],
    )
    if file is None:
        output.print(
            "nothing to mend: bisect asks outputs alone, and they pass. For layers that `validate` calls bad see the "
            "causes in its report; `--policy all-fp16` asks what fp16 everywhere would break."
        )
        return
    count = len(found.returned)
    noun = "node has" if count == 1 else "nodes have"
    output.print(f"[bold]{count} {noun} to be fp32[/] ({found.tries} tries); without any one of them it fails again\n")
    for item in found.returned:
        screen.facts(output, [(item.node, _place(item)), ("  because", item.reason), *_along(item)])
    screen.facts(
        output,
        [
            ("\nthen it passes", f"\n{found.after.reason}"),
            ("", None if found.low_sums is None else _low_sums(found)),
            ("policy file", screen.relative(file, context.root)),
            ("use it", f"trt-pipeline engine {results.spec.name} --policy {file.relative_to(results.spec.folder)}"),
        ],
    )
    output.print("\nor, in engine.toml under \\[precision]:")
    for line in fp32_lines(_comments(found)):
        click.echo(line)


def _along(item: Return) -> list[tuple[str, str]]:
    along = [("  along with", f"{', '.join(item.along)}, whose result it would round again")] if item.along else []
    return [*along, ("  if left", item.without)]


def _low_sums(found: Bisection) -> str | None:
    if found.low_sums is None:
        return None
    passes = "passes" if found.low_sums.passed else "FAILS"
    return f"where products are summed in the low format too, it {passes}: {found.low_sums.reason}"
