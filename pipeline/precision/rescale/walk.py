"""Take exponents through a graph: which tensors are held scaled, what undoes it, and where a Mul has to."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from pipeline.precision.rescale.algebra import Asked, Step, step
from pipeline.precision.rescale.exponents import NONE, Exponents

Operand = tuple[str, int]
"""Name of a node and position of an operand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Where powers of two are multiplied in.

    Attributes:
        nodes: By name of a node whose constants are multiplied.
        operands: By operand, which is multiplied before the node reads it.
        passing: Linear layers that hand the exponent of their operand on.
    """

    nodes: Mapping[str, Exponents] = field(default_factory=dict)
    operands: Mapping[Operand, Exponents] = field(default_factory=dict)
    passing: frozenset[str] = frozenset()

    def __or__(self, other: Seeds) -> Seeds:
        """Both; where they name the same place, `other`."""
        return Seeds(
            nodes={**self.nodes, **other.nodes},
            operands={**self.operands, **other.operands},
            passing=self.passing | other.passing,
        )


@dataclass(slots=True, kw_only=True)
class Scaling:
    """What seeds do to a graph.

    Attributes:
        held: Exponents of every value that is held scaled, in graph order.
        steps: Nodes that have something changed.
        restored: For values that something cannot read scaled: the nodes, and None for a graph output.
        multiplied: Operands that a Mul scales, with the exponents.
    """

    held: dict[ir.Value, Exponents] = field(default_factory=dict)
    steps: dict[ir.Node, Step] = field(default_factory=dict)
    restored: dict[ir.Value, list[ir.Node | None]] = field(default_factory=dict)
    multiplied: dict[tuple[ir.Node, int], Exponents] = field(default_factory=dict)

    @property
    def added(self) -> int:
        """Mul nodes that it takes."""
        copies = {(node.inputs[position], scale) for (node, position), scale in self.multiplied.items()}
        return len(self.restored) + len(copies)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The nodes of a main graph, as a walk needs them.

    Attributes:
        graph: The graph.
        nodes: The nodes, in graph order.
        position: Position of each node.
        by_name: Each node by its name.
    """

    graph: ir.Graph
    nodes: tuple[ir.Node, ...]
    position: dict[ir.Node, int]
    by_name: dict[str, ir.Node]

    @staticmethod
    def of(graph: ir.Graph) -> Order:
        """The order that `graph` has now."""
        return Order(
            graph=graph,
            nodes=tuple(graph),
            position={node: index for index, node in enumerate(graph)},
            by_name={str(node.name): node for node in graph},
        )


def walk(order: Order, seeds: Seeds, fits: Callable[[ir.Value], bool]) -> Scaling:
    """Follow `seeds` through the main graph, which is left as it is; nodes that nothing reaches are not looked at.

    Args:
        order: An fp32 graph.
        seeds: Where powers of two are multiplied in.
        fits: Whether a value, unscaled, lies within the low format's range.
    """
    scaling = Scaling()
    waiting = [order.position[order.by_name[name]] for name in {*seeds.nodes, *(name for name, _ in seeds.operands)}]
    heapq.heapify(waiting)
    seen: set[int] = set()
    while waiting:
        at = heapq.heappop(waiting)
        if at in seen:
            continue
        seen.add(at)
        _visit(scaling, seeds, order.nodes[at], fits)
        held = (value for value in order.nodes[at].outputs if value in scaling.held)
        for node in (use.node for value in held for use in value.uses()):
            if node in order.position:
                heapq.heappush(waiting, order.position[node])
    for value in scaling.held:
        _restore_for_others(scaling, order.graph, value)
    return scaling


def _visit(scaling: Scaling, seeds: Seeds, node: ir.Node, fits: Callable[[ir.Value], bool]) -> None:
    seed = seeds.nodes.get(str(node.name), NONE)
    given = [_given(scaling, seeds, node, position) for position in range(len(node.inputs))]
    if seed.zero and all(item.zero for item in given):
        return
    passes = str(node.name) in seeds.passing
    asked = Asked(seed=seed, passes=passes, fits=bool(node.outputs) and fits(node.outputs[0]))
    found = step(node, given, asked)
    if found is None:
        found = _restore_operands(scaling, node, given, asked)
    else:
        _note_multiplied(scaling, seeds, node)
    _record(scaling, node, found)


def _given(scaling: Scaling, seeds: Seeds, node: ir.Node, position: int) -> Exponents:
    value = node.inputs[position]
    if value is None:
        return NONE
    own = scaling.held.get(value, NONE)
    return own.plus(seeds.operands.get((str(node.name), position), NONE)) or own


def _note_multiplied(scaling: Scaling, seeds: Seeds, node: ir.Node) -> None:
    for position, value in enumerate(node.inputs):
        extra = seeds.operands.get((str(node.name), position), NONE)
        if value is not None and not extra.zero and scaling.held.get(value, NONE).plus(extra) is not None:
            scaling.multiplied[node, position] = extra


def _restore_operands(scaling: Scaling, node: ir.Node, given: list[Exponents], asked: Asked) -> Step:
    """Let `node` read its operands unscaled; its own seed stays where it can."""
    for value in dict.fromkeys(value for value in node.inputs if value is not None and value in scaling.held):
        scaling.restored.setdefault(value, []).append(node)
    unscaled = [NONE] * len(given)
    found = None if asked.seed.zero else step(node, unscaled, asked)
    return found or Step(results=(NONE,) * len(node.outputs))


def _record(scaling: Scaling, node: ir.Node, found: Step) -> None:
    if found.constants or found.epsilon:
        scaling.steps[node] = found
    for value, exponents in zip(node.outputs, found.results, strict=True):
        if not exponents.zero:
            scaling.held[value] = exponents


def _restore_for_others(scaling: Scaling, graph: ir.Graph, value: ir.Value) -> None:
    """Graph outputs and subgraphs take a value as it was."""
    readers: list[ir.Node | None] = [use.node for use in value.uses() if use.node.graph is not graph]
    if value.is_graph_output():
        readers.append(None)
    if readers:
        scaling.restored.setdefault(value, []).extend(dict.fromkeys(readers))
