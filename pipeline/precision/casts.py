"""Turn decisions into a strongly typed graph: Casts, and weights stored in the format that reads them.

Names (all later stages rely on them):

- `x` keeps its name and holds its value in the format of its decision's result. A graph output keeps fp32.
- `x::fp16`, `x::fp32` are copies of x in another format, one for all that read it so. A weight that is read in two
  formats is stored in both.
- `x::fp32::n` is the copy that product n alone reads. TensorRT-RTX 1.7 takes low operands with an fp32 accumulator for
  what they are only where the widening Casts are the product's own: shared by two, they become fp32 products.
- `x::raw` is what a node computed in a wider format than its result's; `x` is cast from it.
- A Cast that makes the tensor t is the node `cast::t`.
- `x::held` is a tensor with masked elements before it is cast to a narrow format, `x::unheld` what a node made of them
  before they are held (see `masks`). The Max that makes the tensor t is the node `hold::t`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import Decision, Fate
from pipeline.core.errors import GraphError, PrecisionError
from pipeline.core.formats import Format
from pipeline.graph import io, modules
from pipeline.precision import semantics, typed_attributes
from pipeline.precision.admitted import admits
from pipeline.precision.masks import COUNTS, MASKED
from pipeline.precision.semantics import WEIGHTED, Movement, OpSemantics
from pipeline.precision.weights import onnx_type, rounded


def apply(model: ir.Model, decisions: Iterable[Decision]) -> tuple[Fate, ...]:
    """Insert the casts that `decisions` ask for into `model`, which is fp32 and is changed in place.

    Returns:
        Fates of tensors with masked elements that are other numbers in a narrow format; every tensor of the model keeps
        its name, scale and layout.

    Raises:
        GraphError: `model` is not fp32.
        PrecisionError: A node has no decision, a decision no node, or ONNX does not type the operator so.
    """
    _require_fp32(model)
    chosen = _by_node(model, decisions)
    typing = _Typing(graph=model.graph, first=next(iter(model.graph), None))
    for node, (decision, row) in chosen.items():
        _require_possible(node, decision, row, io.opset(model))
        typing.connect(node, decision, row)
        typing.retype(node, decision, row)
    typing.store_weights()
    return tuple(typing.fates)


def computes_in(decision: Decision) -> Format | None:
    """Format of the node itself: its accumulator's where that is fixed, else its operands', else its result's."""
    return decision.accumulator or decision.operands or decision.result


def _require_fp32(model: ir.Model) -> None:
    values = [*model.graph.inputs, *model.graph.initializers.values(), *(v for n in model.graph for v in n.outputs)]
    low = next((value.name for value in values if value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)), None)
    if low is not None:
        raise GraphError("precision is applied to an fp32 graph, and this tensor is not fp32", where=f"tensor {low}")


def _by_node(model: ir.Model, decisions: Iterable[Decision]) -> dict[ir.Node, tuple[Decision, OpSemantics]]:
    by_name = {decision.node: decision for decision in decisions}
    names = {str(node.name) for node in model.graph}
    if missing := sorted(names - by_name.keys()):
        raise PrecisionError(f"{len(missing)} nodes have no decision, {missing[0]} among them", hint=_REMARK)
    if strangers := sorted(by_name.keys() - names):
        raise PrecisionError(f"{len(strangers)} decisions name no node, {strangers[0]} among them", hint=_REMARK)
    functions = model.functions.keys()
    return {node: (by_name[str(node.name)], semantics.of(node, functions)) for node in model.graph}


_REMARK = "the precision plan was made for another graph: run mark on this one"


def _require_possible(node: ir.Node, decision: Decision, row: OpSemantics, opset: int) -> None:
    computed = computes_in(decision)
    formats = {decision.operands, decision.result} if row.movement is Movement.CONTROL else {computed}
    for low in formats & {Format.FP16, Format.BF16}:
        if low is not None and not admits(node, row, opset, low):
            raise PrecisionError(
                f"{node.op_type} cannot compute in {low} at opset {opset}",
                where=f"node {node.name}",
                hint="keep it in fp32",
            )


@dataclass(slots=True, kw_only=True)
class _Typing:
    """A graph whose nodes are being typed, in graph order.

    Attributes:
        graph: The graph, changed in place.
        first: Its first node before the change: casts of inputs and weights stand before it.
        stored: Format of each float value that is not fp32.
        copies: Copies of values in other formats.
        widened: Copies in fp32 that one product alone reads.
        floors: Smallest element of tensors with masked elements in a narrow format, by name.
        fates: Of such tensors.
    """

    graph: ir.Graph
    first: ir.Node | None
    stored: dict[ir.Value, Format] = field(default_factory=dict)
    copies: dict[tuple[ir.Value, Format], ir.Value] = field(default_factory=dict)
    widened: dict[tuple[ir.Value, ir.Node], ir.Value] = field(default_factory=dict)
    floors: dict[str, float] = field(default_factory=dict)
    fates: list[Fate] = field(default_factory=list)

    def connect(self, node: ir.Node, decision: Decision, row: OpSemantics) -> None:
        """Give `node` its float operands in the formats of its decision."""
        if row.movement is Movement.INTEGER:
            return
        self.floors |= {floor.tensor: floor.value for floor in decision.floors}
        operands = decision.operands or Format.FP32
        held = operands if node.op_type == "Cast" else decision.accumulator or operands
        for position, value in enumerate(node.inputs):
            if value is None or not self._is_float(value) or position in row.index_operands:
                continue
            exact = position in row.fp32_operands
            if exact:
                read = self._read(value, Format.FP32, Format.FP32)
            elif held is not operands and row.op in WEIGHTED:
                read = self._widen_for(node, self._read(value, operands, operands))
            else:
                read = self._read(value, operands, held)
            if read is not value:
                node.replace_input_with(position, read)

    def retype(self, node: ir.Node, decision: Decision, row: OpSemantics) -> None:
        """Give `node`'s float results the format of its decision, and what reads fp32 only a copy in fp32."""
        result = decision.result or Format.FP32
        computed = result if node.op_type == "Cast" else computes_in(decision) or Format.FP32
        results = [v for i, v in enumerate(node.outputs) if self._is_float(v) and i not in row.fp32_results]
        if results and computed is not Format.FP32:
            typed_attributes.set_result_type(node, computed)
        for value in results:
            masked = str(value.name) in self.floors and not {computed, result} <= {Format.FP32}
            if masked:
                self.fates.append(_masked(value))
            if masked and row.movement is not Movement.EXACT:
                value = self._hold_result(value, computed)
            self._retype_value(value, computed, result)

    def store_weights(self) -> None:
        """Drop fp32 weights that nothing reads any more: their low copies take their names."""
        for (weight, low), copy in list(self.copies.items()):
            name = str(weight.name)
            if not _is_weight(weight) or weight.uses() or weight.is_graph_output():
                continue
            if self.graph.initializers.get(name) is weight and low is not Format.FP32:
                del self.graph.initializers[name]
                _rename_weight(self.graph, copy, name)

    def _hold_result(self, value: ir.Value, computed: Format) -> ir.Value:
        """What takes the place of a sum with masked elements: the same, never under its floor."""
        name, uses, is_output = str(value.name), tuple(value.uses()), value.is_graph_output()
        value.name = f"{name}::unheld"
        self._hold(value, computed)
        held = self._max(value, self.floors[name], name)
        for node, position in uses:
            node.replace_input_with(position, held)
        if is_output:
            _replace_output(self.graph, value, held)
        return held

    def _max(self, value: ir.Value, floor: float, name: str) -> ir.Value:
        """`value`, never under `floor`, right after what makes it."""
        format_ = self._format(value)
        key = f"floor::{floor:g}::{format_}"
        if key not in self.graph.initializers:
            tensor = rounded(ir.tensor(np.array(floor, np.float32), name=key), format_, key)
            limit = ir.Value(name=key, shape=ir.Shape([]), const_value=tensor)
            self._hold(limit, format_)
            self.graph.register_initializer(limit)
        held = ir.Value(name=name, shape=_shape(value))
        node = ir.node("Max", [value, self.graph.initializers[key]], outputs=[held], name=f"hold::{name}")
        self._hold(held, format_)
        self._insert(node, value)
        return held

    def _retype_value(self, value: ir.Value, computed: Format, result: Format) -> None:
        name, is_output, uses = str(value.name), value.is_graph_output(), tuple(value.uses())
        named = f"{name}::{result}" if is_output and result is not Format.FP32 else name
        final = value
        self._hold(value, computed)
        if computed is not result:
            value.name = f"{name}::raw"
            final = self._cast(value, result, named)
            if result is Format.FP32:
                self.copies |= {(final, computed): value, (value, Format.FP32): final}
        elif named != name:
            value.name = named
        if is_output:
            output = final if result is Format.FP32 else self._cast(final, Format.FP32, name)
            _replace_output(self.graph, value, output)
            if output is not final:
                self.copies[final, Format.FP32] = output
        for node, position in uses:
            wanted = final if node.graph is self.graph else self._read(final, Format.FP32, Format.FP32)
            if wanted is not value:
                node.replace_input_with(position, wanted)

    def _read(self, value: ir.Value, rounded_to: Format, held_in: Format) -> ir.Value:
        """`value` rounded to one format and held in another that is no narrower."""
        if rounded_to not in (Format.FP32, self._format(value)):
            value = self._copy(value, rounded_to)
        return value if held_in is self._format(value) else self._copy(value, held_in)

    def _widen_for(self, node: ir.Node, value: ir.Value) -> ir.Value:
        key = (value, node)
        if key not in self.widened:
            self.widened[key] = self._cast(value, Format.FP32, f"{_root(value)}::{Format.FP32}::{node.name}")
        return self.widened[key]

    def _copy(self, value: ir.Value, target: Format) -> ir.Value:
        if (value, target) not in self.copies:
            low_weight = _is_weight(value) and self._format(value) is Format.FP32
            make = self._store if low_weight else self._cast
            name = self._copy_name(value, target)
            floor = self.floors.get(str(value.name)) if self._format(value) is Format.FP32 else None
            source = value if floor is None or low_weight else self._max(value, floor, f"{value.name}::held")
            self.copies[value, target] = make(source, target, name)
        return self.copies[value, target]

    def _copy_name(self, value: ir.Value, target: Format) -> str:
        """`x::target`, also for the fp32 copy of the rounded copy of an x; `x::fp16::fp32` where x has another."""
        if target is not Format.FP32:
            return f"{_root(value)}::{target}"
        root = _root(value)
        taken = any(copy.name == f"{root}::{target}" for copy in self.copies.values())
        return f"{value.name if taken else root}::{target}"

    def _cast(self, value: ir.Value, target: Format, name: str) -> ir.Value:
        """A Cast of `value`, right after what makes it."""
        copy = ir.Value(name=name, shape=_shape(value))
        node = ir.node("Cast", [value], {"to": onnx_type(target)}, outputs=[copy], name=f"cast::{name}")
        self._hold(copy, target)
        self._insert(node, value)
        return copy

    def _insert(self, node: ir.Node, value: ir.Value) -> None:
        """Put `node`, which reads `value`, right after what makes it."""
        producer = value.producer()
        if producer is not None:
            modules.inherit(node, producer)
            self.graph.insert_after(producer, node)
        else:
            self._insert_first(value, node)

    def _insert_first(self, value: ir.Value, added: ir.Node) -> None:
        reader = next((use.node for use in value.uses() if use.node is not added), None)
        if reader is not None:
            modules.inherit(added, reader)
        if self.first is None:
            raise ValueError(f"nothing in the graph reads {value.name}")
        self.graph.insert_before(self.first, added)

    def _store(self, weight: ir.Value, target: Format, name: str) -> ir.Value:
        """`weight` rounded once and stored beside it."""
        tensor = weight.const_value
        if tensor is None:
            raise GraphError("an initializer has no value", where=f"tensor {weight.name}")
        if (floor := self.floors.get(str(weight.name))) is not None:
            tensor = ir.tensor(np.maximum(tensor.numpy(), np.float32(floor)))
        copy = ir.Value(name=name, shape=_shape(weight), const_value=rounded(tensor, target, name))
        self._hold(copy, target)
        self.graph.register_initializer(copy)
        return copy

    def _hold(self, value: ir.Value, format_: Format) -> None:
        value.type = ir.TensorType(onnx_type(format_))
        self.stored[value] = format_

    def _format(self, value: ir.Value) -> Format:
        return self.stored.get(value, Format.FP32)

    def _is_float(self, value: ir.Value) -> bool:
        return value in self.stored or value.dtype is ir.DataType.FLOAT


def _masked(value: ir.Value) -> Fate:
    name = str(value.name)
    return Fate(tensor=name, now=name, masked=COUNTS, reason=f"masked elements are held at {MASKED:g}, and count as 0")


def _is_weight(value: ir.Value) -> bool:
    return value.is_initializer() and not value.is_graph_input()


def _root(value: ir.Value) -> str:
    """Name of the tensor that a low copy is a copy of."""
    name = str(value.name)
    root, separator, format_ = name.rpartition("::")
    return root if separator and format_ in (Format.FP16, Format.BF16) else name


def _shape(value: ir.Value) -> ir.Shape | None:
    return None if value.shape is None else value.shape.copy()


def _replace_output(graph: ir.Graph, value: ir.Value, output: ir.Value) -> None:
    for position, old in enumerate(graph.outputs):
        if old is value and output is not value:
            graph.outputs[position] = output


def _rename_weight(graph: ir.Graph, weight: ir.Value, name: str) -> None:
    del graph.initializers[str(weight.name)]
    weight.name = name
    graph.register_initializer(weight)
