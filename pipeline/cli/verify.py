"""`trt-pipeline verify`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.cli import options
from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode
from pipeline.core.artifacts import Check


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, file_okay=False), required=False)
@click.option("--store", is_flag=True, help="Check every digest of the store.")
@options.as_json
@click.pass_context
def verify(ctx: click.Context, bundle: Path | None, store: bool, as_json: bool) -> None:
    """Check every digest of a bundle, or of the store. Loads nothing, needs no GPU."""
    if (bundle is None) == (not store):
        raise click.UsageError("give a bundle's folder, or --store")
    context: Context = ctx.obj
    check = _verify_store(context) if bundle is None else _verify_bundle(bundle)
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps(check), nl=False)
    else:
        _show(check, "the store" if bundle is None else str(bundle))
    ctx.exit(ExitCode.OK if check.passed else ExitCode.DAMAGED)


def _verify_bundle(folder: Path) -> Check:
    from pipeline.bundle import verify

    return verify.verify(folder)


def _verify_store(context: Context) -> Check:
    from pipeline.core.store import Store
    from pipeline.flow import STORE

    store = Store(context.root / STORE)
    with store.writing():
        found = [(folder.relative_to(store.entries).as_posix(), intact) for folder, intact in store.all_entries()]
    problems = tuple(f"{name}: damaged; it is made again when it is needed" for name, intact in found if not intact)
    return Check(name="store", passed=not problems, summary=f"{len(found)} entries compared", problems=problems)


def _show(check: Check, what: str) -> None:
    for problem in check.problems:
        click.echo(f"  {problem}")
    click.echo(f"{'intact' if check.passed else 'DAMAGED'}: {what} ({check.summary})")
    if check.passed and check.name == "digests":
        click.echo("not signed: damage is detected, tampering is not")
