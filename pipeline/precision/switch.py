"""The mixed graph with precision as an input: one session computes it with any of its nodes back in fp32.

A node that rounds becomes an If on its flag: the node as it was, or what `emulate` makes of it alone under its
decision. So the roundings belong to their nodes. A node rounds what it reads, whoever made it: where its producer is
back in fp32, it rounds the same value again, as the Cast that `casts` would put there does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from pipeline.core.artifacts import Decision
from pipeline.core.formats import Format
from pipeline.graph import modules
from pipeline.precision import casts, template
from pipeline.precision.emulate import emulate

FLAGS = "fp32[nodes]"
"""Name of the added graph input: one boolean for each of `Switched.nodes`."""

WIDE = frozenset({None, Format.FP32})


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """A model that is told which nodes round.

    Attributes:
        model: fp32; inputs and outputs of the reference, and the input `FLAGS`: true returns a node to fp32.
        nodes: Names of the nodes that can be returned, in the order of the flags and of the graph.
    """

    model: ir.Model
    nodes: tuple[str, ...]


def switched(reference: ir.Model, decisions: Iterable[Decision]) -> Switched:
    """Make precision an input of `reference`, which is left as it is.

    With every flag false it computes what `emulate` does of the graph that `decisions` make, products summed in fp32.

    Args:
        reference: The canonical fp32 model.
        decisions: One a node of its main graph.

    Raises:
        GraphError: A decision asks for what cannot be emulated.
        PrecisionError: A decision asks for what ONNX has no types for.
    """
    by_name = {decision.node: decision for decision in decisions}
    rounding = tuple(str(node.name) for node in reference.graph if is_low(by_name[str(node.name)]))
    writer = _Writer(reference=reference)
    for node in reference.graph:
        writer.take(node, by_name[str(node.name)])
    return Switched(model=writer.model(len(rounding)), nodes=rounding)


def is_low(decision: Decision) -> bool:
    """Whether a node rounds anything."""
    return not {decision.operands, decision.result, decision.accumulator} <= WIDE


def returned(decision: Decision) -> Decision:
    """The decision of the same node back in fp32."""
    wide = {name: Format.FP32 for name in ("operands", "result") if getattr(decision, name) is not None}
    return replace(decision, accumulator=None, **wide)


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

    def take(self, node: ir.Node, decision: Decision) -> None:
        """Write `node`: as it is where it never rounds, else both ways."""
        if not is_low(decision):
            self.nodes.append(template.copy_node(node, self.bound))
            return
        name = str(node.name)
        ways = {"then_branch": _one_node(node), "else_branch": self._rounding(node, decision)}
        branches = [ir.AttrGraph(way, self._branch(node, graph, f"{way}::{name}")) for way, graph in ways.items()]
        results = [value for value in node.outputs if value.name]
        choice = ir.Node("", "If", [self._flag()], branches, num_outputs=len(results), name=name)
        modules.inherit(choice, node)
        for old, new in zip(results, choice.outputs, strict=True):
            new.name, new.type, new.shape = old.name, template.copy_of_type(old), old.shape
            self.bound[old] = new
        self.nodes.append(choice)

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


def _one_node(node: ir.Node) -> ir.Graph:
    """A graph of `node` alone, whose inputs have the names of what it reads."""
    inputs = {value: _fresh(value, weight=False) for value in node.inputs if value is not None}
    copy = template.copy_node(node, dict(inputs))
    outputs = [value for value in copy.outputs if value.name]
    return ir.Graph(list(inputs.values()), outputs, nodes=[copy], name=str(node.name), opset_imports={})


def _fresh(value: ir.Value, *, weight: bool = True) -> ir.Value:
    constant = value.const_value if weight else None
    return ir.Value(name=value.name, type=template.copy_of_type(value), shape=value.shape, const_value=constant)
