"""Write a scaling into a graph: constants, epsilons, and the Muls that are needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.graph.modules import RESCALED
from pipeline.precision.rescale.exponents import Exponents
from pipeline.precision.rescale.walk import Scaling
from pipeline.precision.rewrites.edits import Editor, named


@dataclass(slots=True, kw_only=True)
class Written:
    """What was written.

    Attributes:
        fates: What became of the tensors that are not held as they were.
        added: Names of the Mul nodes, by the tensor that they scale or restore.
    """

    fates: dict[str, Fate] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)


def apply(model: ir.Model, scaling: Scaling, reasons: Mapping[str, str]) -> Written:
    """Hold the tensors of `model` as `scaling`, which was walked on it, says; in place.

    Args:
        model: The model.
        scaling: What to scale.
        reasons: By node that a power of two is multiplied in at, why.
    """
    editor, written = Editor(model), Written()
    for value, exponents in scaling.held.items():
        name = named(value)
        written.fates[name] = _fate(name, name, exponents)
    for node, found in scaling.steps.items():
        for position, edits in found.constants.items():
            _scale_constant(editor, written, node, position, edits)
        if found.epsilon:
            _scale_epsilon(node, found.epsilon)
        node.metadata_props[RESCALED] = reasons.get(str(node.name)) or _undoing(found.constants, found.epsilon)
    _multiply(editor, written, scaling, reasons)
    for value, readers in scaling.restored.items():
        _restore(editor, written, value, scaling.held[value], readers)
    return written


def words(exponents: Exponents) -> str:
    """Exponents as text: `2^-3`, or `2^-5 to 2^-1 by channel`."""
    if exponents.uniform:
        return f"2^{exponents.values[0]}"
    return f"2^{min(exponents.values)} to 2^{max(exponents.values)} by channel"


def _fate(name: str, now: str, exponents: Exponents) -> Fate:
    reason = f"held times {words(exponents)}"
    if exponents.axis is None:
        return Fate(tensor=name, now=now, exponent=exponents.values[0], reason=reason)
    return Fate(tensor=name, now=now, exponents=exponents.values, axis=exponents.axis, reason=reason)


def _undoing(constants: Mapping[int, Sequence[Exponents]], epsilon: int) -> str:
    parts = [f"constant {position} holds it times {words(e)}" for position, edits in constants.items() for e in edits]
    if epsilon:
        parts.append(f"epsilon is times 2^{epsilon}")
    return f"its operands are rescaled: {', '.join(parts)}"


def _scale_constant(editor: Editor, written: Written, node: ir.Node, position: int, edits: Sequence[Exponents]) -> None:
    value = node.inputs[position]
    if value is None or value.const_value is None:
        raise ValueError(f"operand {position} of {node.name} is no constant")
    tensor = scaled(value.const_value, edits)
    name = named(value)
    if len(list(value.uses())) == 1 and not value.is_graph_output():
        value.const_value, value.shape = tensor, ir.Shape(tensor.shape.numpy())
        if name not in written.fates:
            written.fates[name] = _weight_fate(name, edits)
        return
    copy = ir.Value(
        name=editor.free(f"{name}::rescaled"),
        type=ir.TensorType(ir.DataType.FLOAT),
        shape=ir.Shape(tensor.shape.numpy()),
        const_value=tensor,
    )
    editor.graph.register_initializer(copy)
    node.replace_input_with(position, copy)


def scaled(tensor: ir.TensorProtocol, edits: Sequence[Exponents]) -> ir.TensorProtocol:
    """`tensor` (fp32) times powers of two; nothing is read until the bytes are needed, and nothing is kept after."""
    axes = [edit.array().shape for edit in edits]
    shape = np.broadcast_shapes(tuple(tensor.shape.numpy()), *axes)

    def compute() -> ir.TensorProtocol:
        array = tensor.numpy()
        for edit in edits:
            array = edit.scale(array)
        return ir.Tensor(np.ascontiguousarray(array), name=tensor.name)

    return ir.LazyTensor(compute, dtype=ir.DataType.FLOAT, shape=ir.Shape(shape), name=tensor.name)


def _weight_fate(name: str, edits: Sequence[Exponents]) -> Fate:
    if len(edits) == 1:
        return _fate(name, name, edits[0])
    return Fate(tensor=name, now=None, reason=f"held times {' and '.join(words(edit) for edit in edits)}")


def _scale_epsilon(node: ir.Node, exponent: int) -> None:
    epsilon = np.float32(node.attributes.get_float("epsilon", 1e-5))
    node.attributes["epsilon"] = ir.AttrFloat32("epsilon", float(np.ldexp(epsilon, exponent)))


def _multiply(editor: Editor, written: Written, scaling: Scaling, reasons: Mapping[str, str]) -> None:
    copies: dict[tuple[ir.Value, Exponents], ir.Value] = {}
    for (node, position), exponents in scaling.multiplied.items():
        value = node.inputs[position]
        if value is None:
            raise ValueError(f"{node.name} has no operand {position}")
        if (value, exponents) not in copies:
            copies[value, exponents] = _mul(editor, written, value, exponents, "rescaled", node, after=False)
            producer = copies[value, exponents].producer()
            if producer is not None and str(node.name) in reasons:
                producer.metadata_props[RESCALED] = reasons[str(node.name)]
        node.replace_input_with(position, copies[value, exponents])


def _restore(
    editor: Editor, written: Written, value: ir.Value, exponents: Exponents, readers: Sequence[ir.Node | None]
) -> None:
    """A Mul that gives those readers the value as it was."""
    producer, name = value.producer(), named(value)
    if producer is None:
        raise ValueError(f"{name} is held scaled and no node makes it")
    uses = [(node, position) for node, position in value.uses() if node in readers]
    restored = _mul(editor, written, value, exponents.times(-1), "restored", producer, after=True)
    for node, position in uses:
        node.replace_input_with(position, restored)
    if None in readers:
        graph = editor.graph
        graph.outputs[graph.outputs.index(value)] = restored
        value.name, restored.name = editor.free(f"{name}::rescaled"), name
        written.fates.pop(name, None)


def _mul(
    editor: Editor,
    written: Written,
    value: ir.Value,
    exponents: Exponents,
    suffix: str,
    beside: ir.Node,
    *,
    after: bool,
) -> ir.Value:
    name = named(value)
    factor = editor.constant(f"{name}::{suffix}::factor", np.asarray(np.ldexp(np.float32(1), exponents.array())))
    result = editor.node(
        "Mul",
        [value, factor],
        beside=beside,
        output=f"{name}::{suffix}",
        dtype=ir.DataType.FLOAT,
        shape=value.shape,
        after=after,
    )
    node = result.producer()
    if node is not None:
        node.metadata_props[RESCALED] = f"{suffix} by {words(exponents)}"
        written.added[name] = str(node.name)
    return result
