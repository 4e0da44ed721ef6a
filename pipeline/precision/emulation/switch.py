"""The mixed graph with precision as an input: one session computes it with any of its nodes decided otherwise.

A node that rounds becomes an If on its flag: the node as it was, or what `emulate` makes of it alone under its
decision; where it may round in several ways, an If for each. So the roundings belong to their nodes. A node rounds what
it reads, whoever made it: where its producer is back in fp32, it rounds the same value again, as the Cast that `casts`
would put there does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.core.artifacts import Decision
from pipeline.core.formats import Format
from pipeline.graph import modules
from pipeline.precision import casts, template
from pipeline.precision.emulation.emulate import emulate

FLAGS = "fp32[nodes]"
"""Name of the added graph input: for each of `Switched.nodes` one boolean a way in which it rounds."""

WIDE = frozenset({None, Format.FP32})

Formats: TypeAlias = tuple[Format | None, Format | None, Format | None]
"""Formats of operands, accumulator and result: what of a decision decides numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """A model that is told which nodes round.

    Attributes:
        model: fp32; inputs and outputs of the reference, and the input `FLAGS`. The first flag of a node returns it to
            fp32, the next makes it round in its first way, and so on; without any it rounds in its last.
        ways: For each node that can round, in the order of the flags and of the graph, the ways in which.
    """

    model: ir.Model
    ways: dict[str, tuple[Formats, ...]]

    @property
    def nodes(self) -> tuple[str, ...]:
        """Names of the nodes that can round."""
        return tuple(self.ways)

    def knows(self, decisions: Iterable[Decision]) -> bool:
        """Whether `flags` has an answer."""
        return all(not is_low(item) or formats(item) in self.ways.get(item.node, ()) for item in decisions)

    def flags(self, decisions: Iterable[Decision]) -> npt.NDArray[np.bool_]:
        """What `FLAGS` has to be for the model to compute what `decisions` make.

        Raises:
            ValueError: A node rounds in a way that the model does not have.
        """
        by_name = {decision.node: decision for decision in decisions}
        found: list[bool] = []
        for name, ways in self.ways.items():
            taken = ways.index(formats(by_name[name])) + 1 if is_low(by_name[name]) else 0
            found += [position == taken for position in range(len(ways))]
        return np.array(found, bool)


def switched(reference: ir.Model, *plans: Iterable[Decision]) -> Switched:
    """Make precision an input of `reference`, which is left as it is.

    Of one plan, with every flag false it computes what `emulate` does of the graph that its decisions make, products
    summed in fp32.

    Args:
        reference: The canonical fp32 model.
        plans: The ways in which nodes may round; each one decision a node of the main graph.

    Raises:
        GraphError: A decision asks for what cannot be emulated.
        PrecisionError: A decision asks for what ONNX has no types for.
    """
    ways: dict[str, dict[Formats, Decision]] = {str(node.name): {} for node in reference.graph}
    for plan in plans:
        for decision in plan:
            if is_low(decision):
                ways[decision.node].setdefault(formats(decision), decision)
    writer = _Writer(reference=reference)
    for node in reference.graph:
        writer.take(node, tuple(ways[str(node.name)].values()))
    rounding = {name: tuple(found) for name, found in ways.items() if found}
    return Switched(model=writer.model(sum(map(len, rounding.values()))), ways=rounding)


def formats(decision: Decision) -> Formats:
    """What of a decision decides numbers."""
    return decision.operands, decision.accumulator, decision.result


def is_low(decision: Decision) -> bool:
    """Whether a node rounds anything."""
    return not {decision.operands, decision.result, decision.accumulator} <= WIDE


def returned(decision: Decision) -> Decision:
    """The decision of the same node back in fp32."""
    return replace(
        decision,
        operands=None if decision.operands is None else Format.FP32,
        accumulator=None,
        result=None if decision.result is None else Format.FP32,
    )


@dataclass(slots=True, kw_only=True)
class _Writer:
    """The graph being written.

    Attributes:
        reference: The model that is read.
        flags: The added input.
        bound: What stands for each value of the reference.
        nodes: Nodes so far.
        weights: Initializers: the reference's, and the positions of flags.
        count: Flags so far.
    """

    reference: ir.Model
    flags: ir.Value = field(default_factory=lambda: ir.Value(name=FLAGS, type=ir.TensorType(ir.DataType.BOOL)))
    bound: dict[ir.Value, ir.Value] = field(default_factory=dict)
    nodes: list[ir.Node] = field(default_factory=list)
    weights: list[ir.Value] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        graph = self.reference.graph
        self.bound |= {value: _fresh(value) for value in (*graph.inputs, *graph.initializers.values())}
        self.weights += [self.bound[value] for value in graph.initializers.values()]

    def take(self, node: ir.Node, ways: Sequence[Decision]) -> None:
        """Write `node`: as it is where it never rounds, else all ways."""
        if not ways:
            self.nodes.append(template.copy_node(node, self.bound))
            return
        bodies = [_one_node(node), *(self._rounding(node, decision) for decision in ways)]
        choice = self._choice(node, bodies, str(node.name))
        for old, new in zip(_results(node), choice.outputs, strict=True):
            new.name = old.name
            self.bound[old] = new
        self.nodes.append(choice)

    def _choice(self, node: ir.Node, bodies: Sequence[ir.Graph], name: str) -> ir.Node:
        """An If that computes the first of `bodies` where its flag says so, else one of the others."""
        flag = self._flag()
        first = self._branch(node, bodies[0], f"then_branch::{name}")
        if len(bodies) == 2:
            rest = self._branch(node, bodies[1], f"else_branch::{name}")
        else:
            inner = self._choice(node, bodies[1:], f"other::{name}")
            rest = ir.Graph([], list(inner.outputs), nodes=[inner], name=f"else_branch::{name}")
        results = _results(node)
        branches = [ir.AttrGraph("then_branch", first), ir.AttrGraph("else_branch", rest)]
        choice = ir.Node("", "If", [flag], branches, num_outputs=len(results), name=name)
        modules.inherit(choice, node)
        for old, new in zip(results, choice.outputs, strict=True):
            new.name, new.type, new.shape = f"{name}::{old.name}", template.copy_of_type(old), old.shape
        return choice

    def model(self, count: int) -> ir.Model:
        """What was written."""
        graph = self.reference.graph
        self.flags.shape = ir.Shape([count])
        switched = ir.Graph(
            [*(self.bound[value] for value in graph.inputs), self.flags],
            [self.bound[value] for value in graph.outputs],
            nodes=self.nodes,
            initializers=self.weights,
            name=f"{graph.name}, precision an input",
            opset_imports=dict(graph.opset_imports),
        )
        functions = tuple(self.reference.functions.values())
        return ir.Model(switched, ir_version=self.reference.ir_version, functions=functions)

    def _rounding(self, node: ir.Node, decision: Decision) -> ir.Graph:
        """`node` alone, rounding what it reads and what it makes."""
        graph = _one_node(node)
        alone = ir.Model(graph, ir_version=self.reference.ir_version)
        graph.opset_imports.update(self.reference.graph.opset_imports)
        casts.apply(alone, [decision])
        return emulate(alone).graph

    def _branch(self, node: ir.Node, body: ir.Graph, name: str) -> ir.Graph:
        """`body`, which stands for `node` alone, on what stands for the operands of `node`."""
        operands = dict.fromkeys(value for value in node.inputs if value is not None)
        scope = {new: self.bound[old] for new, old in zip(body.inputs, operands, strict=True)}
        for weight in body.initializers.values():
            scope[weight] = ir.Value(
                name=f"{name}::{weight.name}",
                type=template.copy_of_type(weight),
                shape=weight.shape,
                const_value=weight.const_value,
            )
            self.weights.append(scope[weight])
        nodes = [template.copy_node(inner, scope, f"{name}::") for inner in body]
        return ir.Graph([], [scope[value] for value in body.outputs], nodes=nodes, name=name)

    def _flag(self) -> ir.Value:
        position = ir.val(f"{FLAGS}::{self.count}", const_value=ir.tensor([self.count], dtype=ir.DataType.INT64))
        self.weights.append(position)
        flag = ir.node("Gather", [self.flags, position], name=f"flag::{self.count}")
        flag.outputs[0].name, flag.outputs[0].type = f"flag::{self.count}", ir.TensorType(ir.DataType.BOOL)
        self.nodes.append(flag)
        self.count += 1
        return flag.outputs[0]


def _results(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.outputs if value.name]


def _one_node(node: ir.Node) -> ir.Graph:
    """A graph of `node` alone, whose inputs have the names of what it reads."""
    inputs = {value: _fresh(value, weight=False) for value in node.inputs if value is not None}
    copy = template.copy_node(node, dict(inputs))
    return ir.Graph(list(inputs.values()), _results(copy), nodes=[copy], name=str(node.name), opset_imports={})


def _fresh(value: ir.Value, *, weight: bool = True) -> ir.Value:
    constant = value.const_value if weight else None
    return ir.Value(name=value.name, type=template.copy_of_type(value), shape=value.shape, const_value=constant)
