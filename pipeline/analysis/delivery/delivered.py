"""The first check of delivered precision: the network that TensorRT read has the planned types.

It restates the Casts, and shows that nothing was lost or changed on the way in; `analysis.built` reads what the builder
made of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.analysis.delivery.constants import constant_nodes
from pipeline.backends.tensorrt.records import NetworkLayer
from pipeline.core.artifacts import Check, Decision, PrecisionPlan
from pipeline.core.formats import Format
from pipeline.graph.typed import FLOATS
from pipeline.precision import semantics
from pipeline.precision.semantics import Movement

TYPES = {Format.FP32: "float", Format.TF32: "float", Format.FP16: "half", Format.BF16: "bf16"}
"""TensorRT's name, in lower case, of the type that stores a format."""

_FLOATS = frozenset(TYPES.values())


def parsed(plan: PrecisionPlan, mixed: ir.Model, layers: Iterable[NetworkLayer]) -> Check:
    """Compare every planned node with its layers in TensorRT's network.

    Args:
        plan: The decisions.
        mixed: The strongly typed graph that was parsed.
        layers: The network, read back before the build.

    Returns:
        A check that fails where a node has no layer, or a layer has another type than its node's decision.
    """
    network = _Network.of(layers)
    nodes = {str(node.name): node for node in mixed.graph}
    constants = constant_nodes(mixed.graph)
    problems: list[str] = []
    evaluated = 0
    for decision in plan.decisions:
        node = nodes.get(decision.node)
        if node is None:
            problems.append(f"{decision.node}: the mixed graph has no such node")
        elif not network.by_node.get(decision.node):
            evaluated += decision.node in constants
            if decision.node not in constants:
                problems.append(f"{decision.node} ({decision.op}): no layer in TensorRT's network was made for it")
        else:
            problems.extend(_differences(decision, node, network))
    matched = len(plan.decisions) - evaluated
    aside = (f"{evaluated} constant nodes: the parser evaluates them, so they have no layer",) if evaluated else ()
    return Check(
        name="parsed",
        passed=not problems,
        summary=f"{matched} planned nodes compared with {len(network.layers)} layers, {len(problems)} problems",
        problems=tuple(problems),
        unobservable=aside,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Network:
    """TensorRT's network by node and by tensor."""

    layers: tuple[NetworkLayer, ...]
    by_node: Mapping[str, Sequence[NetworkLayer]]
    makers: Mapping[str, NetworkLayer]

    @staticmethod
    def of(layers: Iterable[NetworkLayer]) -> _Network:
        kept = tuple(layers)
        by_node: dict[str, list[NetworkLayer]] = {}
        for layer in kept:
            for node in layer.nodes:
                by_node.setdefault(node, []).append(layer)
        makers = {tensor.name: layer for layer in kept for tensor in layer.outputs}
        return _Network(layers=kept, by_node=by_node, makers=makers)

    def dtype(self, tensor: str) -> str | None:
        """Type of a tensor that a layer makes, or None where no layer makes one of this name."""
        maker = self.makers.get(tensor)
        return next((made.dtype for made in maker.outputs if made.name == tensor), None) if maker else None


def computed_in(decision: Decision) -> Format:
    """Format that the node itself computes in."""
    return decision.accumulator or decision.operands or decision.result or Format.FP32


def _differences(decision: Decision, node: ir.Node, network: _Network) -> Iterator[str]:
    where = f"{decision.node} ({decision.op})"
    if decision.result is not None:
        for name, wanted in _planned_results(decision, node):
            found = network.dtype(name)
            if found != wanted:
                yield f"{where}: {name} is {found or 'not there'}, planned {wanted}"
    row = semantics.of(node)
    if decision.operands is not None and row.movement not in (Movement.INTEGER, Movement.CONTROL):
        yield from (f"{where}: {problem}" for problem in _operand_problems(decision, node, network))


def _planned_results(decision: Decision, node: ir.Node) -> Iterator[tuple[str, str]]:
    """Tensor names that the node's float results go by in the mixed graph, with the types they should have."""
    assert decision.result is not None
    for value in node.outputs:
        name = str(value.name)
        if value.dtype not in FLOATS or not name:
            continue
        if name.endswith("::raw"):
            yield name, TYPES[computed_in(decision)]
            yield _rounded_name(value), TYPES[decision.result]
        else:
            yield name, TYPES[decision.result]


def _rounded_name(raw: ir.Value) -> str:
    """Name of the tensor that `raw` is cast to: `x`, or `x::fp16` where x is a graph output."""
    root = str(raw.name).removesuffix("::raw")
    made = (str(output.name) for use in raw.uses() if use.node.op_type == "Cast" for output in use.node.outputs)
    return next((name for name in made if name == root or name.startswith(f"{root}::")), root)


def _operand_problems(decision: Decision, node: ir.Node, network: _Network) -> Iterator[str]:
    assert decision.operands is not None
    row = semantics.of(node)
    held = TYPES[decision.operands if node.op_type == "Cast" else computed_in(decision)]
    exact = {name for index in row.fp32_operands if index < len(node.inputs) for name in _names(node.inputs[index])}
    for layer in network.by_node[decision.node]:
        for tensor in layer.inputs:
            wanted = TYPES[Format.FP32] if tensor.name in exact else held
            unnamed_exact = bool(exact) and tensor.dtype == TYPES[Format.FP32] and tensor.name.startswith("ONNXTRT_")
            if tensor.dtype in _FLOATS and tensor.dtype != wanted and not unnamed_exact:
                yield f"reads {tensor.name} as {tensor.dtype}, planned {wanted}"
    if decision.accumulator not in (None, decision.operands):
        yield from _unrounded(decision, node, network)


def _unrounded(decision: Decision, node: ir.Node, network: _Network) -> Iterator[str]:
    """Operands of a wide-accumulator node that do not come out of a narrower tensor."""
    assert decision.operands is not None
    row = semantics.of(node)
    for index, value in enumerate(node.inputs):
        if value is None or value.dtype not in FLOATS or index in (*row.index_operands, *row.fp32_operands):
            continue
        maker = network.makers.get(str(value.name))
        stored = maker.inputs[0].dtype if maker is not None and maker.kind == "cast" else None
        if stored != TYPES[decision.operands]:
            yield f"operand {value.name} is not held in {TYPES[decision.operands]} before it is widened"


def _names(value: ir.Value | None) -> tuple[str, ...]:
    """Names that TensorRT gives a graph value: constants end in `_output`."""
    return () if value is None else (str(value.name), f"{value.name}_output")
