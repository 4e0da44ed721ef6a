"""Records to JSON and back, validated on the way in.

Non-finite floats are written as the strings `inf`, `-inf` and `nan`, because JSON has no numbers for them.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Hashable, Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

T = TypeVar("T")


def to_value(record: Any) -> Any:
    """A record, or any nesting of records, as JSON-compatible values.

    Raises:
        TypeError: It holds something that has no JSON form here.
    """
    match record:
        case None | bool() | int():
            return record
        case Enum():
            return record.value
        case str():
            return str(record)
        case float():
            return record if math.isfinite(record) else str(record)
        case Path():
            return record.as_posix()
        case Mapping():
            return {str(key): to_value(item) for key, item in record.items()}
        case list() | tuple():
            return [to_value(item) for item in record]
        case _ if dataclasses.is_dataclass(record) and not isinstance(record, type):
            return {item.name: to_value(getattr(record, item.name)) for item in dataclasses.fields(record)}
    raise TypeError(f"{type(record).__name__} has no JSON form")


def dumps(record: Any) -> str:
    """A record as indented JSON with a final newline; equal records give equal text."""
    return json.dumps(to_value(record), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def loads(kind: type[T], text: str | bytes) -> T:
    """A record of type `kind` from its JSON form.

    Raises:
        pydantic.ValidationError: The text does not describe a valid record.
    """
    record: T = adapter(cast("Hashable", kind)).validate_json(text)
    return record


def first_mistake(error: ValueError) -> str:
    """The first mistake that reading a record found, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join(lines[1:3]) if len(lines) > 2 else lines[0]


def map_paths(record: Any, change: Callable[[Path], Path]) -> Any:
    """A copy of a record with `change` applied to every path in it."""
    match record:
        case Path():
            return change(record)
        case dict():
            return {key: map_paths(item, change) for key, item in record.items()}
        case list() | tuple():
            return type(record)(map_paths(item, change) for item in record)
        case _ if dataclasses.is_dataclass(record) and not isinstance(record, type):
            fields = (item.name for item in dataclasses.fields(record) if item.init)
            return dataclasses.replace(record, **{name: map_paths(getattr(record, name), change) for name in fields})
    return record


@cache
def adapter(kind: Any) -> Any:
    """Pydantic's validator of a record type (pydantic is imported here: it costs 0.2 s)."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)
