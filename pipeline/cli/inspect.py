"""`trt-pipeline inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli import options
from pipeline.cli.context import Context
from pipeline.core.artifacts import PrecisionPlan
from pipeline.core.errors import SpecError


@click.command()
@click.argument("what", type=options.EngineName())
@click.option("--modules", is_flag=True, help="List the module paths of an engine or an ONNX model, with their nodes.")
@click.option(
    "--decisions", is_flag=True, help="List the precision of every node of an engine or a precision.json, and why."
)
@options.as_json
@click.pass_obj
def inspect(context: Context, what: str, modules: bool, decisions: bool, as_json: bool) -> None:
    """Print an engine, spec, ONNX model, precision plan, TensorRT plan, report or bundle.

    WHAT is the name of an engine, or the path of an engine.toml, .onnx, .plan, precision.json, report.json or bundle
    folder.
    """
    from pipeline.cli import readable

    if modules:
        readable.show_modules(_graph_path(context, what), as_json=as_json)
        return
    record = _decided(context, what) if decisions else _read(context, what)
    if decisions and not as_json:
        readable.show_decisions(record)
    elif as_json:
        from pipeline.core import serde

        click.echo(serde.dumps(record), nl=False)
    else:
        readable.show(record)


def _read(context: Context, what: str) -> Any:
    """The record that `what` names."""
    from pipeline.cli import readable

    path = Path(what)
    if (path.is_dir() and (path / "manifest.json").is_file()) or (path.is_file() and path.suffix == ".zst"):
        return readable.bundle(path)
    if path.is_file():
        return readable.file(path)
    if path.suffix or "/" in what:
        raise SpecError("no such file or bundle", where=what, hint="`trt-pipeline list` shows the engines")
    from pipeline import flow

    return flow.read_spec(what, root=context.root)


def _decided(context: Context, what: str) -> PrecisionPlan:
    """The precision plan that is asked for: a file, or that of an engine."""
    if Path(what).is_file():
        from pipeline.cli import readable

        record = readable.file(Path(what))
        if isinstance(record, PrecisionPlan):
            return record
        raise SpecError("holds no precision plan", where=what, hint="give an engine, or its precision.json")
    plan: PrecisionPlan = _run(context, what, "mark")
    return plan


def _graph_path(context: Context, what: str) -> Path:
    """The ONNX file whose modules are asked for: a file, or the canonical graph of an engine."""
    if Path(what).suffix == ".onnx":
        return Path(what)
    path: Path = _run(context, what, "canonicalise").path
    return path


def _run(context: Context, name: str, until: str) -> Any:
    """The artifact of a stage of an engine, made if it is not there."""
    from pipeline import flow

    with context.reporter() as progress:
        return flow.run(name, root=context.root, progress=progress, until=until).artifact(until)
