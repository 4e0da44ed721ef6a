"""`trt-pipeline list`."""

from __future__ import annotations

import click

from pipeline.cli import options
from pipeline.cli.context import Context


@click.command("list")
@options.as_json
@click.pass_obj
def list_engines(context: Context, as_json: bool) -> None:
    """List the engines of this clone."""
    from pipeline.core import serde, spec_file

    specs = [spec_file.read(path) for path in sorted(context.root.glob(f"engines/*/{spec_file.FILE}"))]
    if as_json:
        rows = [{"name": spec.name, "description": spec.description, "path": spec.folder} for spec in specs]
        click.echo(serde.dumps(rows), nl=False)
        return
    width = max((len(spec.name) for spec in specs), default=0)
    for spec in specs:
        click.echo(f"{spec.name:<{width}}  {spec.description}")
    if not specs:
        click.echo("no engines here; `trt-pipeline init NAME --from …` adds one")
