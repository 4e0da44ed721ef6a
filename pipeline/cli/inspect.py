"""`trt-pipeline inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from pipeline.cli import options
from pipeline.cli.context import Context
from pipeline.core.errors import SpecError


@click.command()
@click.argument("what", type=options.EngineName())
@click.option("--modules", is_flag=True, help="List the module paths of an engine or an ONNX model, with their nodes.")
@options.as_json
@click.pass_obj
def inspect(context: Context, what: str, modules: bool, as_json: bool) -> None:
    """Print an engine, spec, ONNX model, precision plan, TensorRT plan, report or bundle.

    WHAT is the name of an engine, or the path of an engine.toml, .onnx, .plan, precision.json, report.json or bundle
    folder.
    """
    from pipeline.cli import readable

    if modules:
        readable.show_modules(_graph_path(context, what), as_json=as_json)
        return
    record = _read(context, what)
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps(record), nl=False)
    else:
        readable.show(record)


def _read(context: Context, what: str) -> Any:
    """The record that `what` names."""
    from pipeline.cli import readable

    path = Path(what)
    if path.is_dir() and (path / "manifest.json").is_file():
        return readable.bundle(path)
    if path.is_file():
        return readable.file(path)
    if path.suffix or "/" in what:
        raise SpecError("no such file or bundle", where=what, hint="`trt-pipeline list` shows the engines")
    from pipeline import flow

    return flow.read_spec(what, root=context.root)


def _graph_path(context: Context, what: str) -> Path:
    """The ONNX file whose modules are asked for: a file, or the canonical graph of an engine."""
    if Path(what).suffix == ".onnx":
        return Path(what)
    from pipeline import flow

    with context.reporter() as progress:
        results = flow.run(what, root=context.root, progress=progress, until="canonicalise")
    path: Path = results.artifact("canonicalise").path
    return path
