"""Read `engine.toml`: TOML to `EngineSpec`, with every mistake reported at once."""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.core import serde
from pipeline.core.errors import SpecError
from pipeline.core.spec import EngineSpec

FILE = "engine.toml"
RESERVED = ("name", "folder")


def read(path: Path) -> EngineSpec:
    """Read and validate one `engine.toml`.

    Args:
        path: The file; the engine's name is the name of its folder.

    Raises:
        SpecError: It cannot be read, is not TOML, or says something invalid. Every mistake is named with its key path,
            what was found, what was expected, and the nearest valid name.
    """
    return parse(_read_text(path), path)


def parse(text: str, path: Path) -> EngineSpec:
    """Validate the text of an `engine.toml`; `path` names it in errors. Raises as `read` does."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"not TOML: {error}", where=str(path)) from error
    return validate(table, path)


def validate(table: dict[str, Any], path: Path) -> EngineSpec:
    """Validate the tables of an `engine.toml`; `path` names it in errors. Raises as `read` does."""
    from pydantic import ValidationError

    problems = [*_reserved(table), *_unknown_keys(table, EngineSpec, ())]
    try:
        spec: EngineSpec = serde.adapter(EngineSpec).validate_python(
            {**_without_unknown(table, EngineSpec), "name": path.parent.name, "folder": path.parent}
        )
    except ValidationError as error:
        problems += [_problem(item) for item in error.errors()]
    if problems:
        hint = "`trt-pipeline init NAME --from …` writes a commented file"
        raise SpecError(_listing(problems), where=str(path), hint=hint)
    return spec


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SpecError("no such file", where=str(path), hint="`trt-pipeline list` shows the engines") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot be read: {error}", where=str(path)) from error


def _listing(problems: Sequence[str]) -> str:
    if len(problems) == 1:
        return problems[0]
    return f"{len(problems)} mistakes" + "".join(f"\n  - {problem}" for problem in problems)


def _reserved(table: dict[str, Any]) -> list[str]:
    return [f"{key}: unknown key; it follows from the folder" for key in RESERVED if key in table]


def _unknown_keys(table: Any, kind: Any, at: tuple[str, ...]) -> list[str]:
    """Keys of `table` that record type `kind` lacks, with the nearest that it has."""
    if not isinstance(table, dict):
        if isinstance(table, list) and (item := _item_type(kind)):
            return [text for i, row in enumerate(table) for text in _unknown_keys(row, item, (*at, str(i)))]
        return []
    if not dataclasses.is_dataclass(kind):
        item = _item_type(kind)
        return [text for key, row in table.items() for text in _unknown_keys(row, item, (*at, key))] if item else []
    known = _fields(kind)
    found = []
    for key, value in table.items():
        if key in known:
            found += _unknown_keys(value, known[key], (*at, key))
        elif at or key not in RESERVED:
            candidates = [name for name in known if at or name not in RESERVED]
            found.append(f"{_path((*at, key))}: unknown key; {_nearest(key, candidates)}")
    return found


def _without_unknown(table: Any, kind: Any) -> Any:
    """`table` less its unknown keys, so that they are reported once."""
    if isinstance(table, list) and (item := _item_type(kind)):
        return [_without_unknown(row, item) for row in table]
    if not isinstance(table, dict):
        return table
    if not dataclasses.is_dataclass(kind):
        item = _item_type(kind)
        return {key: _without_unknown(value, item) for key, value in table.items()} if item else table
    known = _fields(kind)
    return {key: _without_unknown(value, known[key]) for key, value in table.items() if key in known}


def _fields(kind: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    return {item.name: _record_type(hints[item.name]) for item in dataclasses.fields(kind)}


def _record_type(hint: Any) -> Any:
    """The record type inside `X | None`, else the hint itself."""
    options = [option for option in typing.get_args(hint) if dataclasses.is_dataclass(option)]
    return options[0] if options and typing.get_origin(hint) not in (tuple, dict) else hint


def _item_type(hint: Any) -> Any:
    """The record type inside `tuple[X, ...]` or `dict[str, X]`, else None."""
    return next((option for option in typing.get_args(hint) if dataclasses.is_dataclass(option)), None)


def _problem(item: Any) -> str:
    where = _path([str(part) for part in item["loc"]])
    message = str(item["msg"]).removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if item["type"] == "missing":
        return f"{where}: missing; this key is required"
    found = "" if isinstance(item["input"], dict) else f"found {item['input']!r}: "
    expected = item.get("ctx", {}).get("expected")
    nearest = (
        f"; {_nearest(str(item['input']), str(expected).replace(chr(39), '').replace(' or ', ', ').split(', '))}"
        if expected
        else ""
    )
    return f"{where}: {found}{message}{nearest}" if where else message


def _path(parts: Sequence[str]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if part.isdigit() else f".{part}" if text else part
    return text


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
