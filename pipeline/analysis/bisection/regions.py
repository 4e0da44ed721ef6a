"""Connected regions of a graph, and what must go along when nodes return to fp32."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from pipeline.core.artifacts import TensorRange
from pipeline.graph import modules
from pipeline.precision import semantics
from pipeline.precision.evidence import float_operands


def regions(nodes: Sequence[ir.Node]) -> tuple[tuple[ir.Node, ...], ...]:
    """Connected regions of at most about the square root of `nodes` each, in graph order.

    Nodes of one module come together first, then what is left along the other edges.
    """
    limit = math.isqrt(len(nodes)) + 1
    members = {node: [node] for node in nodes}
    edges = [(value, node) for node in nodes for value in node.inputs if value is not None]
    producers = [(value.producer(), node) for value, node in edges]
    inner = [(one, node) for one, node in producers if one in members]
    inner.sort(key=lambda edge: edge[0] is None or modules.module_of(edge[0]) != modules.module_of(edge[1]))
    for one, other in inner:
        assert one is not None
        left, right = members[one], members[other]
        if left is not right and len(left) + len(right) <= limit:
            left += right
            members.update(dict.fromkeys(right, left))
    order = {node: position for position, node in enumerate(nodes)}
    found = {id(region): tuple(sorted(region, key=order.__getitem__)) for region in members.values()}
    return tuple(sorted(found.values(), key=lambda region: order[region[0]]))


class Closure:
    """Takes along what would overflow again: a consumer that rounds the too large result of a node in fp32.

    Args:
        model: The fp32 graph.
        rounding: Names of the nodes that round.
        ranges: What its tensors hold; `overflow` counts what the low format has no number for.
    """

    def __init__(self, model: ir.Model, rounding: Iterable[str], ranges: Mapping[str, TensorRange]) -> None:
        self._rounding = frozenset(rounding)
        self._next: dict[str, list[str]] = {}
        functions = model.functions.keys()
        for node in model.graph:
            if str(node.name) not in self._rounding:
                continue
            for value in float_operands(node, semantics.of(node, functions)):
                producer, held = value.producer(), ranges.get(str(value.name))
                if producer is not None and held is not None and held.overflow > 0:
                    self._next.setdefault(str(producer.name), []).append(str(node.name))

    def __call__(self, nodes: Iterable[str]) -> frozenset[str]:
        """`nodes` and all that must go along."""
        pending, closed = list(nodes), set[str]()
        while pending:
            name = pending.pop()
            if name not in closed:
                closed.add(name)
                pending += self._next.get(name, [])
        return frozenset(closed)

    def sources(self, node: str, among: Iterable[str]) -> tuple[str, ...]:
        """Those of `among` whose too large results `node` reads."""
        return tuple(name for name in among if node in self._next.get(name, ()))
