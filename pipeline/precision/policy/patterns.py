"""A user's patterns over node names and module paths."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

import onnx_ir as ir

from pipeline.core.errors import PrecisionError
from pipeline.graph import modules

SHOWN = 6
"""Modules listed in a hint."""


def matching(nodes: Sequence[ir.Node], patterns: Iterable[str], where: str) -> dict[ir.Node, str]:
    """Nodes that one of the patterns names, with the first that does.

    A pattern (`fnmatch`, upper and lower case told apart) is held against the node's name, the path of its module, and
    the paths of the modules around that one: `encoder.layer.0` names all of layer 0.

    Args:
        nodes: Nodes in graph order.
        patterns: The patterns.
        where: What holds them, for errors, such as `engine.toml: precision.fp32`.

    Raises:
        PrecisionError: A pattern matches nothing.
    """
    found: dict[ir.Node, str] = {}
    names = {node: _names(node) for node in nodes} if (patterns := tuple(patterns)) else {}
    for position, pattern in enumerate(patterns):
        hits = [node for node, own in names.items() if any(fnmatchcase(name, pattern) for name in own)]
        if not hits:
            raise PrecisionError(
                f"no node or module matches '{pattern}'",
                where=f"{where}[{position}]",
                hint=_hint(pattern, names.values()),
            )
        for node in hits:
            found.setdefault(node, pattern)
    return found


def _names(node: ir.Node) -> tuple[str, ...]:
    parts = modules.module_of(node).split(".")
    around = [".".join(parts[: count + 1]) for count in range(len(parts))]
    return (str(node.name), *(path for path in around if path))


def _hint(pattern: str, names: Iterable[Sequence[str]]) -> str:
    nodes: set[str] = set()
    paths: set[str] = set()
    for own in names:
        nodes.add(own[0])
        paths.update(own[1:])
    known = paths or nodes
    near = difflib.get_close_matches(pattern, sorted(known), n=SHOWN, cutoff=0.4) or sorted(known)[:SHOWN]
    kind = "modules" if paths else "nodes"
    return f"nearest {kind} of this model are {', '.join(near)}; `trt-pipeline inspect` lists all"
