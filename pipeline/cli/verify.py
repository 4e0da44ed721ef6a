"""`trt-pipeline verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import options
from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode
from pipeline.core.artifacts import Check

if TYPE_CHECKING:
    from pipeline.bundle.verify import Verification


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path), required=False)
@click.option("--store", is_flag=True, help="Check every digest of the store.")
@click.option("--key", type=click.Path(path_type=Path), metavar="PUB", help="Public key that must have signed it.")
@options.as_json
@click.pass_context
def verify(ctx: click.Context, bundle: Path | None, store: bool, key: Path | None, as_json: bool) -> None:
    """Check a bundle (a folder or a .tar.zst), or the store. Loads nothing, needs no GPU.

    Compares the signature with PUB, every file with the manifest, and plan, precision plan, report and provenance with
    one another. Exits 0 when all of it holds, 1 when it holds and the bundle was shipped with --force-unvalidated or
    --allow-unlicensed, 6 when it is damaged, 7 when it is not signed by PUB.
    """
    if (bundle is None) == (not store) or (store and key is not None):
        raise click.UsageError("give a bundle, or --store")
    ctx.exit(_store(ctx.obj, as_json) if bundle is None else _bundle(bundle, key, as_json))


def _bundle(bundle: Path, key: Path | None, as_json: bool) -> ExitCode:
    from pipeline.bundle import verify
    from pipeline.core import serde

    found = verify.verify(bundle, key=key)
    if as_json:
        click.echo(serde.dumps(found), nl=False)
    else:
        _show(found, bundle)
    return ExitCode.NOT_PASSED if found.unvalidated else ExitCode.OK


def _show(found: Verification, bundle: Path) -> None:
    for line in found.checked:
        click.echo(f"  {line}")
    trust = f"signed by {found.signed_by[:16]}…" if found.trusted and found.signed_by else "intact"
    click.echo(f"{trust}: {bundle} (core {found.core[:16]}…)")
    for line in found.warnings:
        click.echo(line)
    if found.unvalidated:
        click.echo("NOT VALIDATED: whoever shipped it overrode the refusals above")


def _store(context: Context, as_json: bool) -> ExitCode:
    from pipeline.core import serde

    check = _verify_store(context)
    if as_json:
        click.echo(serde.dumps(check), nl=False)
    else:
        for problem in check.problems:
            click.echo(f"  {problem}")
        click.echo(f"{'intact' if check.passed else 'DAMAGED'}: the store ({check.summary})")
    return ExitCode.OK if check.passed else ExitCode.DAMAGED


def _verify_store(context: Context) -> Check:
    from pipeline.core.store import Store
    from pipeline.flow import STORE

    store = Store(context.root / STORE)
    with store.writing():
        found = [(folder.relative_to(store.entries).as_posix(), intact) for folder, intact in store.all_entries()]
    problems = tuple(f"{name}: damaged; it is made again when it is needed" for name, intact in found if not intact)
    return Check(name="store", passed=not problems, summary=f"{len(found)} entries compared", problems=problems)
