"""Scores that are overwritten where they are masked become scores to which a mask is added."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.attention import Core, cores
from pipeline.precision.rewrites.edits import Editor, named, scalar
from pipeline.precision.rewrites.softmax_guards import guard_of

ABSORBS = -1e30
"""Added to a score, a number below this gives itself: fp32 has 24 bits, and no score comes near 2^-24 of it."""


def add_filled_masks(model: ir.Model) -> tuple[Fate, ...]:
    """Turn `Where(valid, scores, lowest)` into `scores + Where(valid, 0, lowest)` in guarded attentions, in place.

    The results are the same, and the guard can then be moved. Unguarded attentions fuse in either form and stay.
    """
    editor = Editor(model)
    for core in cores(model.graph):
        if guard_of(core.softmax) is not None:
            _add_masks(editor, core)
    return editor.fates


def _add_masks(editor: Editor, core: Core) -> None:
    value = core.scores.outputs[0]
    for node in core.between:
        position, following = list(node.inputs).index(value), node.outputs[0]
        if node.op_type == "Where" and position in (1, 2):
            following = _add_mask(editor, node, position) or following
        value = following


def _add_mask(editor: Editor, fill: ir.Node, position: int) -> ir.Value | None:
    """The sum that takes the place of `fill`, whose operand `position` the scores are, or None where it cannot."""
    number, scores, condition = scalar(fill.inputs[3 - position]), fill.inputs[position], fill.inputs[0]
    lowest = fill.inputs[3 - position]
    if number is None or not number <= ABSORBS or scores is None or condition is None or lowest is None:
        return None
    result = fill.outputs[0]
    name = named(result)
    zero = editor.constant(f"{name}::zero", np.array(0, np.float32))
    branches = [zero, lowest] if position == 1 else [lowest, zero]
    mask = editor.node(
        "Where",
        [condition, *branches],
        beside=fill,
        output=f"{name}::mask",
        dtype=result.dtype,
        shape=condition.shape,
    )
    total = editor.node(
        "Add", [scores, mask], beside=fill, output=f"{name}::sum", dtype=result.dtype, shape=result.shape
    )
    editor.supersede(result, total)
    editor.sweep(fill, "a mask is added instead")
    return total
