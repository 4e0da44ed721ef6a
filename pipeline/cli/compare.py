"""`trt-pipeline compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options
from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode
from pipeline.core.errors import BackendUnavailable, SpecError

if TYPE_CHECKING:
    import onnx_ir as ir

    from pipeline.analysis.two_graphs import Comparison
    from pipeline.flow import Results

WORST = 10
"""Layers and unmatched tensors that are listed; `--json` has them all."""

STAGES = {"exported": "export", "fp32": "canonicalise", "mixed": "convert", "emulated": "convert"}


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

    A and B are each exported, fp32 (the canonical graph), mixed, emulated, the path of an .onnx, or a bundle's folder.
    Graphs with fp16 or bf16 tensors are compared through their emulation: ONNX Runtime's CPU provider does not round.
    """
    from pipeline.analysis import two_graphs
    from pipeline.cli import engine

    context: Context = ctx.obj
    for side in (a, b):
        _require_known(side)
    until = "convert" if {a, b} & {"mixed", "emulated"} else "canonicalise"
    results = engine.run(context, name, weights=weights, policy=policy, targets=targets, until=until)
    notes: list[str] = []
    first, second = (_graph(side, results, notes) for side in (a, b))
    files = results.artifact("sample").validation.batches
    with context.reporter() as progress:
        found = two_graphs.compare_graphs(first, second, files, results.spec.inputs, progress, by_module=by == "module")
    worse = [item.tensor for item in found.matched if sqnr_db is not None and _fails(item.stats.sqnr_db, sqnr_db)]
    worse += [item.tensor for item in found.matched if item.stats.mismatched_nonfinite and item.tensor not in worse]
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps({"a": a, "b": b, "by": by, "notes": notes, "worse": worse, "found": found}), nl=False)
    else:
        _show(found, notes, worse, sqnr_db)
    ctx.exit(ExitCode.NOT_PASSED if worse else ExitCode.OK)


def _fails(found: float, asked: float) -> bool:
    return not found >= asked


def _require_known(side: str) -> None:
    if side == "engine":
        raise BackendUnavailable(
            "a TensorRT plan gives no layers to compare here, only outputs on the GPU that it was built for",
            where="engine",
            hint="`trt-pipeline validate` compares the outputs of the plan where there is a GPU",
        )
    if side not in STAGES and not Path(side).exists():
        raise SpecError(
            "neither a graph of the engine nor a file",
            where=side,
            hint=f"give {', '.join(STAGES)}, the path of an .onnx, or a bundle's folder",
        )


def _graph(side: str, results: Results, notes: list[str]) -> ir.Model:
    """The graph that `side` names, emulated where it has low tensors."""
    from pipeline.graph import io
    from pipeline.precision.emulate import LOW, emulate

    path: Path = results.artifact(STAGES[side]).path if side in STAGES else _file(Path(side))
    model = io.load(path)
    if any(value.dtype in LOW for node in model.graph for value in node.outputs):
        notes.append(f"{side}: emulated in fp32 with every rounding, because ONNX Runtime's CPU provider drops them")
        return emulate(model)
    return model


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    found = sorted(path.rglob("*.onnx"))
    if len(found) != 1:
        raise SpecError(f"a bundle holds one ONNX file, and here are {len(found)}", where=str(path))
    return found[0]


def _show(found: Comparison, notes: list[str], worse: list[str], sqnr_db: float | None) -> None:
    from pipeline.cli import screen

    output = screen.console()
    for note in notes:
        output.print(note, style="yellow")
    ranked = sorted(found.matched, key=lambda item: (-item.stats.mismatched_nonfinite, item.stats.sqnr_db))
    rows = [
        (
            item.tensor,
            item.op,
            item.module,
            f"{item.stats.sqnr_db:.1f}",
            f"{item.stats.max_abs:.3g}",
            item.stats.mismatched_nonfinite,
        )
        for item in ranked[:WORST]
    ]
    headers = ["tensor", "op", "module", ">SQNR dB", ">largest", ">NaN, inf"]
    screen.grid(output, headers, rows, title=f"worst of {len(found.matched)} layers compared")
    for side, gaps in (("A", found.only_a), ("B", found.only_b)):
        if gaps:
            output.print(f"[yellow]{len(gaps)} tensors only in {side}, not compared:[/]")
            screen.facts(output, list(gaps.items())[:WORST])
    if worse:
        asked = "" if sqnr_db is None else f" (at least {sqnr_db:g} dB asked)"
        output.print(f"[bold red]{len(worse)} layers are worse than allowed{asked}[/]")
