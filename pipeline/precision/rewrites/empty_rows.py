"""torch's exporter forgets what `scaled_dot_product_attention` gives for rows without a valid key: zeros.

PyTorch's safe softmax gives zeros to a row whose scores are all minus infinity, with boolean masks and with additive
ones. The exported graph masks with the lowest finite number instead, so that its own guard against NaN never fires and
such rows become the mean of V; for additive masks it has no guard at all, and such rows become NaN (FACTS 32). This
rewrite makes the graph equal to the module again. It is for graphs that torch exported: an ONNX file that is itself the
reference means what it says.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.precision.attention import Core, cores
from pipeline.precision.rewrites.attention import factored, round_trip
from pipeline.precision.rewrites.bounds import LOWEST, may_be_minus_infinity
from pipeline.precision.rewrites.edits import Editor, named, producer, scalar
from pipeline.precision.rewrites.softmax_guards import Masked, additive_masks, guard_of

TRUE_MASK = "masked scores are minus infinity, as in PyTorch"
GUARDED = "rows without a valid key are zero, as in PyTorch"


def restore_empty_rows(model: ir.Model) -> tuple[Fate, ...]:
    """Give rows without a valid key the zeros of PyTorch's `scaled_dot_product_attention`, in place.

    Eager attention, whose rows without a valid key are what its mask makes of them, is left alone: SDPA is known by how
    it is exported, with K turned between two Reshapes.

    Args:
        model: As torch exported it, before any other rewrite.
    """
    editor = Editor(model)
    restored: dict[ir.Value, ir.Value] = {}
    for core in cores(model.graph):
        added = additive_masks(core)
        if added is None or len(added) != 1 or not _is_sdpa(core):
            continue
        if guard_of(core.softmax) is not None:
            _restore_infinity(editor, added[0], restored)
        elif may_be_minus_infinity(added[0].mask):
            _guard(editor, core.softmax)
    return editor.fates


def _is_sdpa(core: Core) -> bool:
    """Whether K reaches the scores as torch's translation of SDPA writes it, and no eager attention does."""
    key = core.scores.inputs[1]
    scaled = factored(key)
    turned = key if scaled is None else scaled[1]
    return turned is not None and round_trip(turned.producer()) is not None


def _restore_infinity(editor: Editor, masked: Masked, restored: dict[ir.Value, ir.Value]) -> None:
    mask = masked.mask
    where = producer(mask, "Where")
    if where is None or scalar(where.inputs[1]) != 0.0 or scalar(where.inputs[2]) != LOWEST or where.inputs[0] is None:
        return
    if mask not in restored:
        infinity = editor.constant(f"{named(mask)}::minus_infinity", np.array(-np.inf, np.float32))
        operands = [value for value in (where.inputs[0], where.inputs[1], infinity) if value is not None]
        output = f"{named(mask)}::infinite"
        restored[mask] = editor.node("Where", operands, beside=where, output=output, dtype=mask.dtype, shape=mask.shape)
    masked.node.replace_input_with(masked.position, restored[mask])
    editor.tell(masked.node.outputs[0], named(masked.node.outputs[0]), TRUE_MASK)
    editor.sweep(where, f"{TRUE_MASK}: its place is taken by {named(restored[mask])}")


def _guard(editor: Editor, softmax: ir.Node) -> None:
    """Insert `Where(IsNaN(P), 0, P)` behind the Softmax; its result takes the Softmax's name."""
    plain = softmax.outputs[0]
    name = named(plain)
    zero = editor.constant(f"{name}::zero", np.array(0, np.float32))
    test = editor.node(
        "IsNaN",
        [plain],
        beside=softmax,
        output=f"{name}::is_nan",
        dtype=ir.DataType.BOOL,
        shape=plain.shape,
        after=True,
    )
    is_nan = test.producer()
    if is_nan is None:
        raise ValueError(f"{named(test)} has no producer")
    guarded = editor.node(
        "Where",
        [test, zero, plain],
        beside=is_nan,
        output=f"{name}::guarded",
        dtype=plain.dtype,
        shape=plain.shape,
        after=True,
    )
    editor.wrap(plain, guarded, "unguarded", also=is_nan)
    editor.tell(guarded, name, GUARDED)
