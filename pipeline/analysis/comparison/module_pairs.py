"""Tensors of two graphs matched inside the modules that both have, and what a comparison says of each module."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import onnx_ir as ir

from pipeline.analysis.comparison.taps import shape_of
from pipeline.graph import modules

Kind = tuple[str, tuple[int | str, ...]]
"""Operator type and shape; the names of dynamic axes differ between exports and do not enter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleRow:
    """A module that both graphs have, submodules left out.

    Attributes:
        module: Its path.
        compared: Tensors that were compared.
        unmatched: Tensors of either graph without a counterpart.
        worst: The tensor with the lowest SQNR, by its name in A; "" where none was compared.
        worst_db: Its SQNR.
        last_db: SQNR of the last tensor that was compared: what the module hands on.
    """

    module: str
    compared: int
    unmatched: int
    worst: str
    worst_db: float
    last_db: float


def match(a: Mapping[str, ir.Node], b: Mapping[str, ir.Node]) -> dict[str, str]:
    """Pair tensors within each module of the same path.

    First those of the same name, operator and shape; then what is left, as the longest run of the same operators and
    shapes in the order of both graphs; then the last results of the two modules, where one operator was replaced by
    several and they have the same shape.

    Args:
        a: Nodes by the tensor they make, in graph order.
        b: Likewise.

    Returns:
        Names in B by names in A.
    """
    inside_a, inside_b = _by_module(a), _by_module(b)
    pairs: dict[str, str] = {}
    for module, names in inside_a.items():
        if module in inside_b:
            pairs |= _match_module(_kinds(a, names), _kinds(b, inside_b[module]))
    return pairs


def rows(
    a: Mapping[str, ir.Node], b: Mapping[str, ir.Node], pairs: Mapping[str, str], sqnr: Mapping[str, float]
) -> tuple[ModuleRow, ...]:
    """One row for each module that both graphs have, in the order of A.

    Args:
        a: Nodes by the tensor they make, in graph order.
        b: Likewise.
        pairs: Names in B by names in A.
        sqnr: SQNR in dB of what was compared, by name in A.
    """
    inside_a, inside_b = _by_module(a), _by_module(b)
    taken = set(pairs.values())
    found = []
    for module, names in inside_a.items():
        if module not in inside_b:
            continue
        compared = [name for name in names if name in sqnr]
        alone = sum(name not in sqnr for name in names) + sum(name not in taken for name in inside_b[module])
        worst = min(compared, key=lambda name: _rank(sqnr[name]), default="")
        found.append(
            ModuleRow(
                module=module,
                compared=len(compared),
                unmatched=alone,
                worst=worst,
                worst_db=sqnr.get(worst, float("nan")),
                last_db=sqnr[compared[-1]] if compared else float("nan"),
            )
        )
    return tuple(found)


def _rank(sqnr: float) -> tuple[bool, float]:
    """NaN is the worst there is."""
    return (sqnr == sqnr, sqnr)  # noqa: PLR0124 (false for NaN alone)


def _by_module(makers: Mapping[str, ir.Node]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, node in makers.items():
        if module := modules.module_of(node):
            found[module].append(name)
    return dict(found)


def _kinds(makers: Mapping[str, ir.Node], names: Iterable[str]) -> dict[str, Kind]:
    return {name: _kind(makers, name) for name in names}


def _kind(makers: Mapping[str, ir.Node], name: str) -> Kind:
    node = makers[name]
    value = next(value for value in node.outputs if value.name == name)
    return node.op_type, tuple(size if isinstance(size, int) else "?" for size in shape_of(value))


def _match_module(a: Mapping[str, Kind], b: Mapping[str, Kind]) -> dict[str, str]:
    pairs = {name: name for name, kind in a.items() if b.get(name) == kind}
    pairs |= _in_order([name for name in a if name not in pairs], [name for name in b if name not in pairs], a, b)
    last_a, last_b = list(a)[-1], list(b)[-1]
    free = last_a not in pairs and last_b not in pairs.values()
    return pairs | ({last_a: last_b} if free and a[last_a][1] == b[last_b][1] else {})


def _in_order(
    ours: Sequence[str], theirs: Sequence[str], a: Mapping[str, Kind], b: Mapping[str, Kind]
) -> dict[str, str]:
    blocks = SequenceMatcher(None, [a[name] for name in ours], [b[name] for name in theirs], autojunk=False)
    return {
        ours[block.a + at]: theirs[block.b + at] for block in blocks.get_matching_blocks() for at in range(block.size)
    }
