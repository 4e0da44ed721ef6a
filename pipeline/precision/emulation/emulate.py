"""The mixed graph as written, as an fp32 graph that rounds exactly where it rounds.

ONNX Runtime's CPU provider computes fp16 nodes in fp32 and drops the rounding between them. So the graph is written
anew: every value of a low format becomes an fp32 value of the same name, and where its producer rounds, its result goes
through Cast->low, Cast->fp32. Operators that only move data need no rounding. What an operator rounds inside is what
`precision.semantics` says; how products of low operands with a low result are summed is `accumulate`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import onnx_ir as ir

from pipeline.core.errors import GraphError
from pipeline.core.formats import Format
from pipeline.graph import modules
from pipeline.precision import semantics, template
from pipeline.precision.emulation.blocks import BLOCKS, sums_in_blocks
from pipeline.precision.semantics import Movement

LOW = frozenset({ir.DataType.FLOAT16, ir.DataType.BFLOAT16})

SOURCES = frozenset(
    {"Constant", "ConstantOfShape", "EyeLike", "BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix"}
)
"""Operators whose result type is an attribute: they keep it, and their result is widened."""

NORMALISED = """
Normalised (x, scale) => (unit) {{
    shape = Shape(scale)
    ones = ConstantOfShape <value = float[1] {{1.0}}> (shape)
    unit = LayerNormalization <axis = {axis}, epsilon = {epsilon}> (x, ones)
}}
"""
"""A LayerNormalization up to where its scale is applied."""


def emulate(mixed: ir.Model, accumulate: Format = Format.FP32) -> ir.Model:
    """An fp32 model with the tensor names and the roundings of `mixed`, which is left as it is.

    Args:
        mixed: A strongly typed model. Its weights stay where they are and as they are stored.
        accumulate: Format in which a product with weights, fp16 operands and an fp16 result is summed: fp32, or fp16
            block by block (bf16 operands are always summed in fp32: tensor cores know nothing else). Products of two
            activations (attention) are summed in fp32 by the fused kernel; so are convolutions here, whatever TensorRT
            takes for them, which validation tells.

    Raises:
        GraphError: A recurrence or a subgraph computes in a low format, or an operator has no semantics.
    """
    writer = _Writer(functions=mixed.functions, accumulate=accumulate)
    inputs = [writer.take_input(value) for value in mixed.graph.inputs]
    for value in mixed.graph.initializers.values():
        writer.take_weight(value)
    for node in mixed.graph:
        writer.take_node(node)
    outputs = [writer.bound[value] for value in mixed.graph.outputs]
    graph = ir.Graph(
        inputs,
        outputs,
        nodes=writer.nodes,
        initializers=writer.weights,
        name=mixed.graph.name,
        opset_imports=dict(mixed.graph.opset_imports),
    )
    return ir.Model(graph, ir_version=mixed.ir_version, functions=tuple(mixed.functions.values()))


@dataclass(slots=True, kw_only=True)
class _Writer:
    """The graph being written.

    Attributes:
        functions: Local functions of the mixed model.
        accumulate: See `emulate`.
        bound: What stands for each value of the mixed graph.
        weights: Initializers, as stored.
        nodes: Nodes so far.
    """

    functions: dict[ir.OperatorIdentifier, ir.Function]
    accumulate: Format
    bound: dict[ir.Value, ir.Value] = field(default_factory=dict)
    weights: list[ir.Value] = field(default_factory=list)
    nodes: list[ir.Node] = field(default_factory=list)

    def take_input(self, value: ir.Value) -> ir.Value:
        """A graph input keeps its name and is fed in fp32; a low one is rounded before it is used."""
        dtype = ir.DataType.FLOAT if value.dtype in LOW else value.dtype
        fed = _value(str(value.name), dtype, value.shape)
        self.bound[value] = fed
        if value.dtype in LOW:
            self.bound[value] = self._widen(self._narrow(fed, str(value.name), value.dtype), f"{value.name}::rounded")
        return fed

    def take_weight(self, value: ir.Value) -> None:
        """An initializer stays as it is stored; a low one is widened when it is used."""
        name = str(value.name)
        stored = _value(f"{name}::stored" if value.dtype in LOW else name, value.dtype, value.shape)
        stored.const_value = value.const_value
        self.weights.append(stored)
        self.bound[value] = self._widen(stored, name) if value.dtype in LOW else stored

    def take_node(self, node: ir.Node) -> None:
        """Write `node` on fp32 operands, with the roundings that its types ask for."""
        row = semantics.of(node, self.functions.keys())
        low = next((value.dtype for value in node.outputs if value.dtype in LOW), None)
        if row.movement in (Movement.CONTROL, Movement.STATEFUL):
            _require_fp32(node)
            self._copy(node)
        elif low is None:
            self._copy(node)
        elif node.op_type in SOURCES:
            self._copy(node, stored=True)
        elif node.op_type in ("Cast", "CastLike"):
            self._cast(node, low)
        elif row.movement is Movement.EXACT:
            self._copy(node)
        elif node.op_type == "LayerNormalization":
            self._layer_norm(node, low)
        elif self.accumulate is not Format.FP32 and sums_in_blocks(node):
            self._product(node, low)
        else:
            self._copy(node, rounds=True)

    def _copy(self, node: ir.Node, *, rounds: bool = False, stored: bool = False) -> None:
        copy = template.copy_node(node, self.bound)
        self.nodes.append(copy)
        for old, new in zip(node.outputs, copy.outputs, strict=True):
            if old.dtype not in LOW:
                continue
            name = str(old.name)
            if stored:
                new.name = f"{name}::stored"
                self.bound[old] = self._widen(new, name)
            elif rounds:
                new.name, new.dtype = f"{name}::exact", ir.DataType.FLOAT
                self.bound[old] = self._round(new, name, old.dtype)
            else:
                new.dtype = ir.DataType.FLOAT

    def _cast(self, node: ir.Node, low: ir.DataType) -> None:
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None
        wide = self.bound[source]
        if wide.dtype is not ir.DataType.FLOAT:
            wide = self._add("Cast", [wide], f"{result.name}::exact", ir.DataType.FLOAT, to=ir.DataType.FLOAT.value)
        self.bound[result] = self._round(wide, str(result.name), low)
        modules.inherit(self.nodes[-1], node)

    def _layer_norm(self, node: ir.Node, low: ir.DataType) -> None:
        """Statistics in fp32, a rounding before scale and bias (see `semantics`), and one after."""
        x, scale, bias = ([self.bound[value] if value is not None else None for value in node.inputs] + [None])[:3]
        assert x is not None
        assert scale is not None
        result = node.outputs[0]
        name = str(result.name)
        body = NORMALISED.format(
            axis=node.attributes.get_int("axis", -1), epsilon=repr(node.attributes.get_float("epsilon", 1e-5))
        )
        nodes, (unit,) = template.stamp(template.parse(body), [x, scale], f"{name}::")
        self.nodes += nodes
        unit.dtype, unit.shape = ir.DataType.FLOAT, result.shape
        unit = self._round(unit, f"{name}::normalised", low)
        exact = self._add("Mul", [unit, scale], f"{name}::scaled", ir.DataType.FLOAT)
        if bias is not None:
            exact = self._add("Add", [exact, bias], f"{name}::exact", ir.DataType.FLOAT)
        self.bound[result] = self._round(exact, name, low)

    def _product(self, node: ir.Node, low: ir.DataType) -> None:
        """A product whose partial sums are rounded block by block, then as any result."""
        result = node.outputs[0]
        operands = [self.bound[value] for value in node.inputs if value is not None]
        body = BLOCKS.format(low=low.value)
        nodes, (exact,) = template.stamp(template.parse(body), operands[:2], f"{result.name}::")
        self.nodes += nodes
        self.bound[result] = self._round(exact, str(result.name), low)

    def _round(self, value: ir.Value, name: str, low: ir.DataType) -> ir.Value:
        return self._widen(self._narrow(value, name, low), name)

    def _narrow(self, value: ir.Value, name: str, low: ir.DataType) -> ir.Value:
        return self._add("Cast", [value], f"{name}::bits", low, to=low.value)

    def _widen(self, value: ir.Value, name: str) -> ir.Value:
        return self._add("Cast", [value], name, ir.DataType.FLOAT, to=ir.DataType.FLOAT.value)

    def _add(self, op: str, operands: list[ir.Value], name: str, dtype: ir.DataType, **attributes: int) -> ir.Value:
        node = ir.node(op, operands, attributes, name=f"emulate::{name}")
        result = node.outputs[0]
        result.name, result.dtype, result.shape = name, dtype, operands[0].shape if op == "Cast" else None
        self.nodes.append(node)
        return result


def _value(name: str, dtype: ir.DataType | None, shape: ir.Shape | None) -> ir.Value:
    return ir.Value(name=name, type=None if dtype is None else ir.TensorType(dtype), shape=shape)


def _require_fp32(node: ir.Node) -> None:
    used = [value for value in (*node.inputs, *node.outputs) if value is not None and value.dtype in LOW]
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH:
            for inner in ir.traversal.RecursiveGraphIterator(attribute.as_graph()):
                values = (*inner.inputs, *inner.outputs)
                used += [value for value in values if value is not None and value.dtype in LOW]
    if used:
        raise GraphError(
            f"{node.op_type} works on {used[0].name} in a low format, which cannot be emulated",
            where=f"node {node.name}",
            hint="keep it in fp32: add its name to precision.fp32",
        )
