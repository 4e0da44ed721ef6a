"""`trt-pipeline compare`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options
from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode
from pipeline.core.errors import SpecError

if TYPE_CHECKING:
    import onnx_ir as ir
    from rich.console import Console

    from pipeline.analysis.comparison.outputs import Run
    from pipeline.analysis.comparison.two_graphs import Comparison
    from pipeline.core.artifacts import ErrorStats, Fate, OnnxModel
    from pipeline.core.progress import Progress
    from pipeline.flow import Results

WORST = 10
"""Layers, and reasons why tensors are unmatched, that are listed; `--json` has them all."""

NAMED = 3
"""Tensors that are named for each reason."""

STAGES = {"exported": "export", "fp32": "canonicalise", "mixed": "convert", "emulated": "convert"}
ENGINE = "engine"


@click.command()
@options.engine_name
@click.argument("a")
@click.argument("b")
@options.run_options
@click.option("--by", type=click.Choice(["name", "module"]), default="name", show_default=True, help="Match layers by.")
@click.option("--sqnr-db", type=float, help="Exit 1 unless every layer compared has at least this SQNR, in dB.")
@options.as_json
@click.pass_context
def compare(
    ctx: click.Context,
    name: str,
    a: str,
    b: str,
    weights: str,
    policy: str | None,
    targets: tuple[str, ...],
    by: str,
    sqnr_db: float | None,
    as_json: bool,
) -> None:
    """Compare A and B layer by layer on the validation samples of the engine NAME.

    A and B are each exported, fp32 (the canonical graph), mixed, emulated, engine, the path of an .onnx, or a bundle's
    folder. Graphs with fp16 or bf16 tensors are compared through their emulation: ONNX Runtime's CPU provider does not
    round. An engine (the plan on this machine's GPU) has outputs to compare, and no layers.

    Tensors without a counterpart are listed. Exits 1 where one has NaN or infinities that the other has not the same,
    where a graph output is missing, or under --sqnr-db.
    """
    from pipeline.cli import engine

    context: Context = ctx.obj
    for side in (a, b):
        _require_known(side)
    until = "build" if ENGINE in (a, b) else "canonicalise" if {a, b} <= {"exported", "fp32"} else "compensate"
    results = engine.run(context, name, weights=weights, policy=policy, targets=targets, until=until)
    notes: list[str] = []
    compare_them = _outputs if ENGINE in (a, b) else _graphs
    with context.reporter() as progress:
        found = compare_them(a, b, results, notes, progress, by_module=by == "module")
    worse = [item.tensor for item in found.matched if sqnr_db is not None and _fails(item.stats.sqnr_db, sqnr_db)]
    worse += [item.tensor for item in found.matched if item.stats.mismatched_nonfinite and item.tensor not in worse]
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps({"a": a, "b": b, "by": by, "notes": notes, "worse": worse, "found": found}), nl=False)
    else:
        _show(found, notes, worse, sqnr_db)
    ctx.exit(ExitCode.NOT_PASSED if worse or found.missing else ExitCode.OK)


def _graphs(a: str, b: str, results: Results, notes: list[str], progress: Progress, *, by_module: bool) -> Comparison:
    from pipeline.analysis.comparison.two_graphs import compare_graphs

    first, second = (_graph(side, results, notes) for side in (a, b))
    return compare_graphs(
        first,
        second,
        results.artifact("sample").validation.batches,
        results.spec.inputs,
        progress,
        fates=_fates(a, b, first, results),
        by_module=by_module,
    )


def _outputs(a: str, b: str, results: Results, notes: list[str], progress: Progress, *, by_module: bool) -> Comparison:
    """The plan has outputs alone, whose names every graph of the line keeps: modules have no say."""
    from pipeline.analysis.comparison.two_graphs import compare_outputs

    exported = results.artifact("export")
    with ExitStack() as stack:
        runs = [_run(side, results, notes, stack) for side in (a, b)]
        if by_module:
            notes.append("an engine has outputs alone, which are matched by name")
        return compare_outputs(
            runs[0],
            runs[1],
            results.artifact("sample").validation.batches,
            results.spec.inputs,
            {info.name: info.shape for info in exported.outputs},
            progress,
        )


def _run(side: str, results: Results, notes: list[str], stack: ExitStack) -> Run:
    from pipeline.analysis.gpu import gpu_plan
    from pipeline.backends.onnxruntime import Session

    if side == ENGINE:
        return stack.enter_context(gpu_plan.load(results.artifact("build")))
    return Session(_graph(side, results, notes), as_written=True)


def _fates(a: str, b: str, first: ir.Model, results: Results) -> tuple[Fate, ...]:
    """What became of A's tensors in B, where both are graphs of this line."""
    from pipeline.graph import correspondence, io

    sides = [_same(side, results) for side in (a, b)]
    if not all(side in STAGES for side in sides):
        return ()
    order = list(dict.fromkeys(STAGES.values()))
    start, end = (order.index(STAGES[side]) for side in sides)
    if start > end:
        return correspondence.invert(_fates(b, a, io.load(_model(sides[1], results).path), results))
    stages = {stage: side for side, stage in STAGES.items()}
    rewrites = [_model(stages[stage], results).fates for stage in order[start + 1 : end + 1]]
    return correspondence.compose(correspondence.tensor_names(first), *rewrites)


def _same(side: str, results: Results) -> str:
    """`mixed` for a file that is the mixed graph of this very run, such as that of its bundle."""
    from pipeline.core import digest

    if side in STAGES or "convert" not in results.handles:
        return side
    mixed = results.mixed.path
    return "mixed" if digest.of_file(_file(Path(side))) == digest.of_file(mixed) else side


def _model(side: str, results: Results) -> OnnxModel:
    found: OnnxModel = results.mixed if STAGES[side] == "convert" else results.artifact(STAGES[side])
    return found


def _fails(found: float, asked: float) -> bool:
    return not found >= asked


def _require_known(side: str) -> None:
    if side not in (*STAGES, ENGINE) and not Path(side).exists():
        raise SpecError(
            "neither a graph of the engine nor a file",
            where=side,
            hint=f"give {ENGINE}, {', '.join(STAGES)}, the path of an .onnx, or a bundle's folder",
        )


def _graph(side: str, results: Results, notes: list[str]) -> ir.Model:
    """The graph that `side` names, emulated where it has low tensors."""
    from pipeline.graph import io
    from pipeline.precision.emulation.emulate import LOW, emulate

    path = _model(side, results).path if side in STAGES else _file(Path(side))
    model = io.load(path)
    if any(value.dtype in LOW for node in model.graph for value in node.outputs):
        notes.append(f"{side}: in fp32 with every rounding carried out, because ONNX Runtime's CPU provider drops them")
        return emulate(model)
    return model


def _file(path: Path) -> Path:
    """An ONNX file, or the one that the plans of a bundle were built from."""
    if path.is_file():
        return path
    from pipeline.bundle import verify

    return path / verify.read(path).graph.path


def _show(found: Comparison, notes: list[str], worse: list[str], sqnr_db: float | None) -> None:
    from pipeline.cli import screen
    from pipeline.report import figures

    output = screen.console()
    for note in notes:
        output.print(note, style="yellow")
    ranked = sorted(found.matched, key=lambda item: (-item.stats.mismatched_nonfinite, item.stats.sqnr_db))[:WORST]
    headers = ["tensor", "op", "module", ">SQNR", ">worst sample", ">largest"]
    rows = [
        [item.tensor, item.op, item.module, figures.db(item.stats.sqnr_db), *_largest(item.stats)] for item in ranked
    ]
    if any(item.stats.mismatched_nonfinite for item in ranked):
        headers.append(">NaN, inf")
        rows = [[*row, f"{item.stats.mismatched_nonfinite:,}"] for row, item in zip(rows, ranked, strict=True)]
    screen.grid(output, headers, rows, title=f"worst of {len(found.matched)} layers compared")
    for side, gaps in (("A", found.only_a), ("B", found.only_b)):
        if gaps:
            output.print(f"[yellow]{len(gaps)} tensors only in {side}, not compared:[/]")
            screen.facts(output, _by_reason(gaps))
    if found.modules:
        _show_modules(output, found)
    for line in found.missing:
        output.print(f"[bold red]missing:[/] {line}")
    if worse:
        asked = "" if sqnr_db is None else f" (at least {sqnr_db:g} dB asked)"
        output.print(f"[bold red]{len(worse)} layers are worse than allowed{asked}[/]")


def _largest(stats: ErrorStats) -> tuple[str, str]:
    """Which sample is worst, and the largest difference."""
    from pipeline.report import figures

    return figures.worst_sample(stats), f"{stats.max_abs:.3g}"


def _by_reason(gaps: Mapping[str, str]) -> list[tuple[str, str]]:
    """What many tensors have in common once: how many, why, and which the first are."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, reason in gaps.items():
        names[reason].append(name)
    return [
        (f"{len(some):,}", f"{reason}: {', '.join(some[:NAMED])}{', …' if len(some) > NAMED else ''}")
        for reason, some in sorted(names.items(), key=lambda item: -len(item[1]))[:WORST]
    ]


def _show_modules(output: Console, found: Comparison) -> None:
    from pipeline.cli import screen

    ranked = sorted(found.modules, key=lambda row: (row.compared == 0, row.worst_db))
    rows = [
        (row.module, row.compared, row.unmatched, row.worst, f"{row.worst_db:.1f}", f"{row.last_db:.1f}")
        for row in ranked[:WORST]
    ]
    headers = ["module", ">compared", ">unmatched", "worst tensor", ">SQNR dB", ">handed on"]
    screen.grid(output, headers, rows, title=f"worst of {len(found.modules)} modules that both have")
