"""Any two graphs with the same inputs, layer by layer, matched by name or by module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from pipeline.analysis.compare import compare
from pipeline.core.artifacts import ErrorStats, Fate
from pipeline.core.errors import ValidationError
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec
from pipeline.graph import modules

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


@dataclass(frozen=True, slots=True, kw_only=True)
class Matched:
    """One tensor of A and its counterpart in B.

    Attributes:
        tensor: Its name in A.
        other: Its name in B.
        op: Operator type of its node in A.
        module: Path of the `nn.Module` in A.
        stats: How B differs from A, over elements that no mask excludes.
    """

    tensor: str
    other: str
    op: str
    module: str
    stats: ErrorStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every float tensor of both graphs: compared, or named as unmatched.

    Attributes:
        matched: In the order of A.
        only_a: Float tensors of A without a counterpart, each with the reason.
        only_b: Float tensors of B without a counterpart, each with the reason.
    """

    matched: tuple[Matched, ...]
    only_a: dict[str, str]
    only_b: dict[str, str]


def compare_graphs(
    a: ir.Model,
    b: ir.Model,
    files: Sequence[Path],
    inputs: Mapping[str, InputSpec],
    progress: Progress,
    *,
    by_module: bool = False,
) -> Comparison:
    """Compare every float tensor of `a` with its counterpart in `b`.

    Args:
        a: The reference.
        b: The candidate; emulated where it is of mixed precision.
        files: Batches.
        inputs: Graph inputs, with the axes that they mask.
        progress: Told of each batch.
        by_module: Match the last result of each module instead of tensors of one name.

    Raises:
        ValidationError: No tensor of `a` has a counterpart, or two counterparts differ in shape.
    """
    pairs = _by_module(a, b) if by_module else _by_name(a, b)
    if not pairs:
        raise ValidationError(
            "no tensor of the two has a counterpart in the other",
            where=f"{a.graph.name} and {b.graph.name}",
            hint="match them by name" if by_module else "match them with --by module",
        )
    way = "its module ends in another tensor, or is not there" if by_module else "no tensor of this name"
    gone = {name: f"{way} in B" for name in _floats(a) if name not in pairs}
    fates = [Fate(tensor=name, now=now) for name, now in pairs.items()]
    fates += [Fate(tensor=name, now=None, reason=reason) for name, reason in gone.items()]
    found, gaps = compare(a, b, fates, files, inputs, progress)
    nodes = _floats(a)
    matched = tuple(
        Matched(
            tensor=name,
            other=pairs[name],
            op=nodes[name].op_type,
            module=modules.module_of(nodes[name]),
            stats=item.kept.stats(),
        )
        for name, item in found.items()
    )
    taken = set(pairs.values())
    return Comparison(
        matched=matched, only_a=gaps, only_b={name: f"{way} in A" for name in _floats(b) if name not in taken}
    )


def _by_name(a: ir.Model, b: ir.Model) -> dict[str, str]:
    there = _floats(b)
    return {name: name for name in _floats(a) if name in there}


def _by_module(a: ir.Model, b: ir.Model) -> dict[str, str]:
    ends_a, ends_b = _ends(a), _ends(b)
    return {name: ends_b[module] for module, name in ends_a.items() if module in ends_b}


def _ends(model: ir.Model) -> dict[str, str]:
    """The last float tensor of each module."""
    return {module: name for name, node in _floats(model).items() if (module := modules.module_of(node))}


def _floats(model: ir.Model) -> dict[str, ir.Node]:
    """Float tensors of the main graph, without those that only rounding adds, and their nodes."""
    found = _results(model.graph)
    return {name: node for name, node in found if "::" not in name}


def _results(nodes: Iterable[ir.Node]) -> list[tuple[str, ir.Node]]:
    return [(str(value.name), node) for node in nodes for value in node.outputs if value.name and value.dtype in FLOATS]
