"""Operators that rank floats, and who takes elements by the outcome."""

from __future__ import annotations

from typing import TypeGuard

import onnx_ir as ir

RANKED = {"ArgMax": (0,), "ArgMin": (0,), "Hardmax": (0,), "NonMaxSuppression": (0, 1), "TopK": (0,)}
"""Operators that rank, with the operands that decide: of a suppression, boxes too, whose overlap is held to a limit."""


def ranks(node: ir.Node) -> bool:
    """Whether a node ranks floats, and anything reads which elements it took.

    The values alone of a TopK change no more than they are rounded.
    """
    if node.op_type not in RANKED or not any(_is(node.inputs[at], float_=True) for at in RANKED[node.op_type]):
        return False
    chosen = node.outputs[1:2] if node.op_type == "TopK" else node.outputs[:1]
    return any(value.uses() or value.is_graph_output() for value in chosen)


def ranker(node: ir.Node) -> ir.Node | None:
    """The node that ranks floats to make the indices which `node` reads, through whatever computes on integers."""
    waiting = [value for value in node.inputs if _is(value, float_=False)]
    seen: set[ir.Value] = set()
    while waiting:
        value = waiting.pop()
        maker = value.producer()
        if maker is None or value in seen:
            continue
        seen.add(value)
        if ranks(maker):
            return maker
        waiting += [operand for operand in maker.inputs if _is(operand, float_=False)]
    return None


def _is(value: ir.Value | None, *, float_: bool) -> TypeGuard[ir.Value]:
    kind = value.dtype if value is not None else None
    return kind is not None and (kind.is_floating_point() if float_ else kind.is_integer())
