"""The IsNaN/Where guard behind a Softmax, which no fused attention kernel survives, moves behind the values.

Such a guard turns the NaN of a row without a valid key into zeros. In fp32 before a Cast back it aborts the
TensorRT-RTX build (FACTS 32). Where no row can be all minus infinity it never fires and is dropped. Where one can, the
mask becomes finite, so that no NaN arises, and `Where(any key is valid, P V, 0)` behind the second MatMul gives such
rows the same zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.attention import Core, cores
from pipeline.precision.rewrites.bounds import LOWEST, lower_bound, may_be_minus_infinity
from pipeline.precision.rewrites.edits import Editor, named, producer, scalar, sole_reader

FINITE = "masked scores are finite; equal in every row that has a valid key"
NEVER = "the guard against NaN never fires: no row can be all minus infinity"
MOVED = "rows without a valid key are zeroed behind the values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """Operand `position` of `node`, which masks scores by adding to them."""

    node: ir.Node
    position: int

    @property
    def mask(self) -> ir.Value:
        """The mask that is added."""
        value = self.node.inputs[self.position]
        if value is None:
            raise ValueError(f"{self.node.name} lacks an operand")
        return value


def move_guards(model: ir.Model) -> tuple[Fate, ...]:
    """Drop each guard, or move it behind P V, in place. The function stays the same where scores hold no NaN."""
    editor = Editor(model)
    masks = _FiniteMasks(editor)
    for core in cores(model.graph):
        guard = guard_of(core.softmax)
        if guard is not None:
            _move(editor, masks, core, guard)
    return editor.fates


def guard_of(softmax: ir.Node) -> ir.Node | None:
    """The Where that replaces NaN among the probabilities by zero, if it alone reads them."""
    probabilities = softmax.outputs[0]
    readers = {use.node for use in probabilities.uses()}
    for node in readers:
        if node.op_type == "Where" and scalar(node.inputs[1]) == 0.0 and node.inputs[2] is probabilities:
            test = producer(node.inputs[0], "IsNaN")
            if test is not None and test.inputs[0] is probabilities and readers == {node, test}:
                return node
    return None


def additive_masks(core: Core) -> list[Masked] | None:
    """The masks that are added to the scores before the Softmax; None where something else can make them infinite."""
    found: list[Masked] = []
    value = core.scores.outputs[0]
    for node in core.between:
        position = list(node.inputs).index(value)
        if node.op_type == "Add":
            found.append(Masked(node=node, position=1 - position))
        elif node.op_type not in ("Mul", "Div", "Identity"):
            return None
        value = node.outputs[0]
    return found


def _move(editor: Editor, masks: _FiniteMasks, core: Core, guard: ir.Node) -> None:
    added = additive_masks(core)
    if added is None or sole_reader(guard.outputs[0]) is None:
        return
    infinite = _infinite_together(added)
    probabilities = core.softmax.outputs[0]
    guard.outputs[0].replace_all_uses_with(probabilities)
    editor.sweep(guard, MOVED if infinite else NEVER)
    if not infinite:
        editor.renamed(named(guard.outputs[0]), named(probabilities), NEVER)
        return
    editor.renamed(named(guard.outputs[0]), named(probabilities), MOVED)
    valid = masks.any_valid([masked.mask for masked in added], beside=added[-1].node)
    _zero_empty_rows(editor, core.values, valid)
    for masked in infinite:
        old = masked.mask
        masked.node.replace_input_with(masked.position, masks.finite(old, share=len(added), beside=masked.node))
        editor.tell(masked.node.outputs[0], named(masked.node.outputs[0]), FINITE)
        editor.sweep(old.producer(), f"{FINITE}: its place is taken by {named(masked.mask)}")
    editor.tell(probabilities, named(probabilities), FINITE)


def _infinite_together(added: list[Masked]) -> list[Masked]:
    """The masks that must be kept above their share of the lowest number so that their sum stays finite."""
    lows = [lower_bound(masked.mask) for masked in added]
    if sum(lows) >= LOWEST:
        return []
    return [masked for masked, low in zip(added, lows, strict=True) if not low >= LOWEST / len(added)]


def _zero_empty_rows(editor: Editor, mixed: ir.Node, valid: ir.Value) -> None:
    result = mixed.outputs[0]
    name = named(result)
    zero = editor.constant(f"{name}::zero", np.array(0, result.dtype.numpy() if result.dtype else np.float32))
    kept = editor.node(
        "Where",
        [valid, result, zero],
        beside=mixed,
        output=f"{name}::kept",
        dtype=result.dtype,
        shape=result.shape,
        after=True,
    )
    editor.wrap(result, kept, "ungated")


class _FiniteMasks:
    """The finite form of each mask, and which of its rows have a valid key, each made once and shared."""

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self._finite: dict[tuple[ir.Value, int], ir.Value] = {}
        self._valid: dict[tuple[ir.Value, ...], ir.Value] = {}

    def finite(self, mask: ir.Value, *, share: int, beside: ir.Node) -> ir.Value:
        """`mask` with minus infinity replaced; `share` of them may be added without overflow."""
        key = (mask, share)
        if key not in self._finite:
            self._finite[key] = self._replaced(mask, share, beside)
        return self._finite[key]

    def any_valid(self, masks: list[ir.Value], *, beside: ir.Node) -> ir.Value:
        """Whether a row of the sum of `masks` has an element above minus infinity: bool, last axis of size 1."""
        key = tuple(masks)
        if key not in self._valid:
            total = masks[0]
            for mask in masks[1:]:
                total = self._node("Add", [total, mask], f"{named(total)}::total", beside, ir.DataType.FLOAT, None)
            self._valid[key] = self._any(total, beside)
        return self._valid[key]

    def _replaced(self, mask: ir.Value, share: int, beside: ir.Node) -> ir.Value:
        name, lowest = named(mask), np.float32(LOWEST / share)
        floor = self._editor.constant(f"{name}::lowest", np.array(lowest))
        where = producer(mask, "Where")
        if where is None or not any(scalar(branch) == -np.inf for branch in where.inputs[1:]):
            return self._node("Max", [mask, floor], f"{name}::finite", beside, mask.dtype, mask.shape)
        inputs = [floor if scalar(value) == -np.inf else value for value in where.inputs]
        kept = [value for value in inputs if value is not None]
        return self._node("Where", kept, f"{name}::finite", where, mask.dtype, mask.shape)

    def _any(self, mask: ir.Value, beside: ir.Node) -> ir.Value:
        name = named(mask)
        keys = _valid_keys(mask)
        if keys is None:
            shape = _last_axis_one(mask.shape)
            floor = self._editor.constant(f"{name}::lowest", np.array(LOWEST, np.float32))
            best = self._reduce(mask, f"{name}::best", beside, ir.DataType.FLOAT)
            return self._node("GreaterOrEqual", [best, floor], f"{name}::any_valid", beside, ir.DataType.BOOL, shape)
        condition, inverted, where = keys
        shape = _last_axis_one(condition.shape)
        if inverted:
            condition = self._node("Not", [condition], f"{name}::valid", where, ir.DataType.BOOL, condition.shape)
        number = self._cast(condition, f"{name}::valid_number", where, ir.DataType.INT32)
        best = self._reduce(number, f"{name}::valid_keys", where, ir.DataType.INT32)
        return self._cast(best, f"{name}::any_valid", where, ir.DataType.BOOL, shape)

    def _cast(
        self, value: ir.Value, output: str, beside: ir.Node, dtype: ir.DataType, shape: ir.Shape | None = None
    ) -> ir.Value:
        return self._editor.node(
            "Cast",
            [value],
            beside=beside,
            output=output,
            dtype=dtype,
            shape=value.shape if shape is None else shape,
            attributes={"to": int(dtype)},
        )

    def _reduce(self, value: ir.Value, output: str, beside: ir.Node, dtype: ir.DataType) -> ir.Value:
        by_input = self._editor.opset >= 18
        axes = [self._editor.constant(f"{output}::axes", np.array([-1], np.int64))] if by_input else []
        return self._editor.node(
            "ReduceMax",
            [value, *axes],
            beside=beside,
            output=output,
            dtype=dtype,
            shape=_last_axis_one(value.shape),
            attributes={"keepdims": 1} if by_input else {"keepdims": 1, "axes": [-1]},
        )

    def _node(
        self,
        op: str,
        inputs: list[ir.Value],
        output: str,
        beside: ir.Node,
        dtype: ir.DataType | None,
        shape: ir.Shape | None,
    ) -> ir.Value:
        return self._editor.node(op, inputs, beside=beside, output=output, dtype=dtype, shape=shape)


def _valid_keys(mask: ir.Value) -> tuple[ir.Value, bool, ir.Node] | None:
    """(condition, inverted, node) where `mask` is Where(condition, finite, -inf), or the other way round."""
    node = producer(mask, "Where")
    if node is None or node.inputs[0] is None:
        return None
    yes, no = scalar(node.inputs[1]), scalar(node.inputs[2])
    if no == -np.inf and not _infinite(node.inputs[1]):
        return node.inputs[0], False, node
    if yes == -np.inf and not _infinite(node.inputs[2]):
        return node.inputs[0], True, node
    return None


def _infinite(value: ir.Value | None) -> bool:
    return value is None or may_be_minus_infinity(value)


def _last_axis_one(shape: ir.Shape | None) -> ir.Shape | None:
    return None if shape is None else ir.Shape([*shape[:-1], 1])
