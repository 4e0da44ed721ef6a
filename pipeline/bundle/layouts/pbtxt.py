"""Protocol Buffers' text format, as far as Triton's `config.pbtxt` needs it, without protobuf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Enum(str):
    """The name of an enumeration's value: written without quotes."""

    __slots__ = ()


def dumps(message: Mapping[str, Any]) -> str:
    """A message as text.

    Args:
        message: Values by field name: bool, int, str, `Enum`, a mapping (a message), or a sequence of those (repeated).

    Raises:
        TypeError: A value is of another type.
    """
    return "".join(f"{line}\n" for line in _fields(message, ""))


def entries(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A map field: one `key`/`value` message an entry, in the order of the keys."""
    return [{"key": key, "value": values[key]} for key in sorted(values)]


def _fields(message: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, list | tuple) and all(isinstance(item, bool | int | str) for item in value):
            yield f"{indent}{name}: [{', '.join(_scalar(item) for item in value)}]"
        elif isinstance(value, list | tuple):
            for item in value:
                yield from _message(name, item, indent)
        elif isinstance(value, Mapping):
            yield from _message(name, value, indent)
        else:
            yield f"{indent}{name}: {_scalar(value)}"


def _message(name: str, value: Mapping[str, Any], indent: str) -> Iterator[str]:
    yield f"{indent}{name} {{"
    yield from _fields(value, f"{indent}  ")
    yield f"{indent}}}"


def _scalar(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case Enum():
            return str(value)
        case str():
            return f'"{"".join(_escaped(value))}"'
    raise TypeError(f"{type(value).__name__} has no text form")


def _escaped(text: str) -> Iterator[str]:
    """Bytes outside printable ASCII, quotes and backslashes, in octal."""
    for byte in text.encode():
        plain = 0x20 <= byte < 0x7F and byte not in b'"\\'
        yield chr(byte) if plain else f"\\{byte:03o}"
