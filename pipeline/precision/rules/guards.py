"""Small constants that keep a logarithm, a root or a divisor away from zero: rounded to zero they keep nothing away."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from pipeline.precision import attention, decomposed_norms
from pipeline.precision.decomposed_norms import constant_scalar
from pipeline.precision.evidence import Evidence
from pipeline.precision.rules.claim import Claim

GUARDED = {"Div": 1, "Log": 0, "Reciprocal": 0, "Sqrt": 0}
"""Operators that zero is bad for, with the position of that operand."""

_FLOORS = {"Add": (0, 1), "Clip": (1,), "Max": (0, 1)}
"""Operators that keep a tensor above a constant, with where that may stand."""

_MOVES = frozenset({"Expand", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


def claims(evidence: Evidence) -> Iterator[Claim]:
    """What reads a tensor that a constant too small for the format keeps above zero, and what makes it.

    The elementwise computation before the constant is claimed as well: who guards at 1e-10 means values down to there
    to count, whatever those of the samples were. Normalisations have a rule of their own.
    """
    norms = {node for chain in decomposed_norms.find(evidence.model.graph) for node in chain.nodes}
    seen: set[ir.Node] = set()
    for node in evidence.rows:
        position = GUARDED.get(node.op_type) if node not in norms else None
        guard = _guard(node.inputs[position]) if position is not None else None
        if guard is None:
            continue
        maker, constant = guard
        if not 0.0 < constant < evidence.low.limits.smallest_normal:
            continue
        reason = f"{maker.name} keeps it {constant:.3g} above zero for {node.op_type} {node.name}"
        lost = f"{reason}, under {evidence.low}'s smallest normal number {evidence.low.limits.smallest_normal:.3g}"
        yield _claim(evidence, node, lost, result=False)
        yield from _before(evidence, node.inputs[position or 0], lost, seen)


def _guard(value: ir.Value | None) -> tuple[ir.Node, float] | None:
    """What keeps `value` above a constant, and the constant."""
    maker = value.producer() if value is not None else None
    while maker is not None and maker.op_type in _MOVES:
        moved = maker.inputs[0]
        maker = moved.producer() if moved is not None else None
    if maker is None or maker.op_type not in _FLOORS:
        return None
    present = [maker.inputs[place] for place in _FLOORS[maker.op_type] if place < len(maker.inputs)]
    constants = [number for operand in present if (number := constant_scalar(operand)) is not None]
    return (maker, constants[0]) if constants else None


def _before(evidence: Evidence, value: ir.Value | None, reason: str, seen: set[ir.Node]) -> Iterator[Claim]:
    """The elementwise nodes that make `value`; the first of them may read what the format rounded."""
    maker = value.producer() if value is not None else None
    if maker is None or maker in seen or maker not in evidence.rows or not attention.is_elementwise(maker):
        return
    seen.add(maker)
    yield _claim(evidence, maker, reason)
    for operand in maker.inputs:
        yield from _before(evidence, operand, reason, seen)


def _claim(evidence: Evidence, node: ir.Node, reason: str, *, result: bool = True) -> Claim:
    extents = [evidence.extents.get(value) for value in node.outputs]
    magnitude = max((extent.magnitude for extent in extents if extent is not None), default=0.0)
    return Claim(node=node, reason=reason, result=result, format=evidence.holder(node, magnitude))
