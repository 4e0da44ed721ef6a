"""`trt-pipeline init`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import click

from pipeline.cli import drafts
from pipeline.cli.context import Context
from pipeline.core.errors import SpecError

NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@click.command()
@click.argument("name")
@click.option(
    "--from",
    "source",
    required=True,
    metavar="SOURCE",
    help="Where the model comes from: " + drafts.FORMS,
)
@click.option(
    "--architecture", default="AutoModel", show_default=True, help="For transformers: class that loads the model."
)
@click.option("--weights", metavar="PATH", help="Checkpoint of a callable. Default: the one beside its file.")
@click.option("--data", metavar="PATH", help="Calibration data. Default: calibration/NAME or calibration/NAME.npz.")
@click.option("--licence", metavar="SPDX", help="Licence of the weights; without one nothing ships.")
@click.pass_obj
def init(
    context: Context,
    name: str,
    source: str,
    architecture: str,
    weights: str | None,
    data: str | None,
    licence: str | None,
) -> None:
    """Write a commented engines/NAME/engine.toml for a model; look it over, then run `trt-pipeline engine NAME`.

    A callable is asked: its module is run on its example inputs, and traced once, for types, axes and outputs.
    """
    from pipeline.core import spec_file

    root = context.root.resolve()
    path = root / "engines" / name / spec_file.FILE
    _require_new(name, path)
    wanted = drafts.Wanted(name=name, root=root, architecture=architecture, weights=weights, data=data, licence=licence)
    draft = drafts.draft(source, wanted, _render("model.py.j2", name=name))
    text = _render("engine.toml.j2", draft=draft, architecture=architecture)
    spec_file.parse(text, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    written = [path, *_write_callable(draft, path.parent)]
    for file in written:
        click.echo(f"wrote {file.relative_to(root).as_posix()}")
    for line in draft.todo:
        click.echo(f"TODO {line}")
    click.echo(f"look it over, then run: trt-pipeline engine {name}")


def _require_new(name: str, path: Path) -> None:
    if not NAME.fullmatch(name):
        raise SpecError(f"not a name for a folder: {name!r}", hint="lower-case letters, digits, `.`, `_` and `-`")
    if path.exists():
        raise SpecError(
            "there already",
            where=f"engines/{name}/engine.toml",
            hint="choose another name, edit it, or remove it to have it drafted again",
        )


def _write_callable(draft: drafts.Draft, folder: Path) -> list[Path]:
    """The file of the callable, where it does not lie there yet."""
    if draft.code is None or draft.callable is None:
        return []
    file = folder / draft.callable.partition(":")[0]
    file.write_text(draft.code, encoding="utf-8")
    return [file]


def _render(template: str, **values: object) -> str:
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 (TOML and Python, not HTML)
        loader=jinja2.PackageLoader("pipeline.cli"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["toml"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["key"] = lambda name: name if BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)
    return environment.get_template(template).render(**values)
