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
@click.pass_obj
def init(context: Context, name: str, source: str, architecture: str) -> None:
    """Write a commented engines/NAME/engine.toml for a model; look it over, then run `trt-pipeline engine NAME`."""
    from pipeline.core import spec_file

    root = context.root
    path = root / "engines" / name / spec_file.FILE
    _require_new(name, path)
    draft = drafts.draft(source, root, architecture)
    text = _render("engine.toml.j2", draft, architecture)
    spec_file.parse(text, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    written = [path, *_write_callable(draft, path.parent)]
    for file in written:
        click.echo(f"wrote {file.relative_to(root).as_posix()}")
    click.echo(f"look it over, then run: trt-pipeline engine {name}")


def _require_new(name: str, path: Path) -> None:
    if not NAME.fullmatch(name):
        raise SpecError(f"not a name for a folder: {name!r}", hint="lower-case letters, digits, `.`, `_` and `-`")
    if path.exists():
        raise SpecError("there already", where=f"engines/{name}/engine.toml", hint="choose another name, or edit it")


def _write_callable(draft: drafts.Draft, folder: Path) -> list[Path]:
    """The user's own `model.py`, where the spec names one that is not there yet."""
    file = (draft.callable or "").partition(":")[0]
    if not file.endswith(".py") or (folder / file).exists():
        return []
    (folder / file).write_text(_render("model.py.j2", draft, ""), encoding="utf-8")
    return [folder / file]


def _render(template: str, draft: drafts.Draft, architecture: str) -> str:
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
    return environment.get_template(template).render(draft=draft, architecture=architecture)
