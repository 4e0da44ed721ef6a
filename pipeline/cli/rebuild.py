"""`trt-pipeline rebuild`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import loading, options
from pipeline.cli.context import Context

if TYPE_CHECKING:
    from pipeline.rebuild.rebuild import Rebuilt


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=("gpu",),
    show_default=True,
    metavar="T",
    help="gpu: TensorRT for the GPU at hand. A compute capability such as 8.0: TensorRT-RTX, and no GPU is needed.",
)
@loading.key_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="NEW",
    help="Write the result there. Default: it takes the bundle's place.",
)
@click.option(
    "--timing-cache",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Keep TensorRT's tactic timings there, for the next rebuild on such a GPU.",
)
@click.option(
    "--sign",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="KEY",
    help="Private key to sign the result with; a signature of before cannot hold any more.",
)
@options.as_json
@click.pass_context
def rebuild(
    ctx: click.Context,
    bundle: Path,
    targets: tuple[str, ...],
    key: Path | None,
    out: Path | None,
    timing_cache: Path | None,
    sign: Path | None,
    as_json: bool,
) -> None:
    """Build more plans from what lies in BUNDLE, hold them to its precision plan, and add them to it.

    Needs neither torch nor the original weights. The way to an A100, H100 or B200: run it there.
    """
    from pipeline.rebuild import rebuild as rebuilding

    context: Context = ctx.obj
    with context.reporter() as progress:
        result = rebuilding.rebuild(
            bundle, targets=targets, key=key, out=out, timing_cache=timing_cache, sign=sign, progress=progress
        )
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps(result), nl=False)
    else:
        _show(result)


def _show(result: Rebuilt) -> None:
    for finding in result.findings:
        click.echo(f"{finding.plan}: {finding.check.name}: {finding.check.summary}")
    click.echo(f"added {', '.join(result.plans)} to {result.bundle}")
    if result.signed_by is not None:
        click.echo(f"signed by key {result.signed_by[:16]}…")
    else:
        click.echo("not signed: sign it with --sign KEY, or give it to whoever signs bundles")
