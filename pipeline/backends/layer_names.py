"""Names of ONNX nodes as TensorRT's parser writes them into layers and, from there, into plans.

`[ONNX Layer: node]`, or `[ONNX Layer: node | branch (then_branch) | outer (If)]` for a node inside a subgraph; several
are joined by an ASCII unit separator. (TensorRT-RTX 1.7 also writes ` | outer (If)` behind nodes after an If whose
condition it could evaluate.)
"""

from __future__ import annotations

from collections.abc import Iterator

_PREFIX = "[ONNX Layer: "
_WITHIN = " | "


def nodes(text: str) -> tuple[str, ...]:
    """The nodes named in `text`, each once, in order."""
    return tuple(dict.fromkeys(parts[0] for parts in _entries(text)))


def enclosing(text: str) -> tuple[str, ...]:
    """The nodes (If, Loop, Scan) that are said to hold the named ones, each once."""
    parents = (part for parts in _entries(text) for part in parts[1:])
    outer = (part.rpartition(" (") for part in parents)
    return tuple(dict.fromkeys(name for name, _, kind in outer if kind in ("If)", "Loop)", "Scan)")))


def _entries(text: str) -> Iterator[list[str]]:
    for entry in text.split("\x1f"):
        name = entry.removeprefix(_PREFIX).rpartition("]")[0] if entry.startswith(_PREFIX) else ""
        if name:
            yield name.split(_WITHIN)
