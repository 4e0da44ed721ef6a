"""`trt-pipeline clean`."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from pipeline.cli import options
from pipeline.cli.context import Context


@click.command()
@click.argument("name", type=options.EngineName(), required=False)
@click.option("--store", is_flag=True, help="Remove the store too: every stage of every engine runs again.")
@click.pass_obj
def clean(context: Context, name: str | None, store: bool) -> None:
    """Remove what was built: for one engine, or for all."""
    from pipeline.core.errors import SpecError
    from pipeline.core.store import Store
    from pipeline.flow import STORE

    root = context.root
    if name is not None and (Path(name).name != name or not (root / "engines" / name).is_dir()):
        raise SpecError(f"no engine named {name!r}", hint="`trt-pipeline list` shows the engines")
    kept = Store(root / STORE)
    with kept.writing():
        built = sorted(path for path in root.glob(f"engines/{name or '*'}/*") if path.is_dir() and _was_built(path))
        for folder in [*built, *([kept.entries] if store else [])]:
            _remove(folder, root)
    if store:
        shutil.rmtree(kept.root)
    if not built and not store:
        click.echo("nothing to remove")


def _was_built(folder: Path) -> bool:
    return folder.name == "build" or folder.name.startswith("build-")


def _remove(folder: Path, root: Path) -> None:
    size = sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
    shutil.rmtree(folder)
    click.echo(f"removed {folder.relative_to(root).as_posix()} ({size / 1e6:.1f} MB)")
