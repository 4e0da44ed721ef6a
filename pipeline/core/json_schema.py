"""JSON schemas of records, as `core.serde` writes them."""

from __future__ import annotations

import json
from typing import Any

from pipeline.core import serde

NUMBER = {"anyOf": [{"type": "number"}, {"enum": ["inf", "-inf", "nan"]}]}
"""A float: JSON has no number for what is not finite."""


def of(kind: Any, *, title: str) -> str:
    """JSON schema (draft 2020-12) of a record type, as indented text with a final newline."""
    schema = _closed(serde.adapter(kind).json_schema(mode="serialization"))
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return json.dumps({**schema, **head}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _closed(node: Any) -> Any:
    """`node` with floats as serde writes them, every field required, and no other field allowed."""
    match node:
        case {"type": "number"}:
            return {**{key: item for key, item in node.items() if key not in ("type", "default")}, **NUMBER}
        case {"type": "object", "properties": dict(properties)}:
            closed = {key: _closed(item) for key, item in node.items()}
            return {**closed, "required": sorted(properties), "additionalProperties": False}
        case dict():
            return {key: _closed(item) for key, item in node.items()}
        case list():
            return [_closed(item) for item in node]
    return node
