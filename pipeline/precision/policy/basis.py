"""What each decision rests on: bounds that hold for every input, what samples showed, a user's word, or a rule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import onnx_ir as ir

from pipeline.core.artifacts import Basis, Decision
from pipeline.core.formats import Format
from pipeline.precision.evidence import Evidence, float_operands, float_results
from pipeline.precision.policy.draft import Draft

TOLD = frozenset({"given", "policy", "user"})
"""Rules that are somebody's word: the model's own types, a policy that decides everything, a pattern."""

SEEN = frozenset({"angle", "overflow", "underflow"})
"""Rules that go by what calibration saw, for nodes that stay wide."""

Stored = tuple[ir.Value, Format]


def decided(evidence: Evidence, node: ir.Node, draft: Draft) -> Decision:
    """The finished decision of a node, with what it rests on."""
    stored = list(_stored_low(evidence, node, draft))
    return replace(
        draft.decision(node),
        basis=_basis(evidence, node, draft, stored),
        margin=_margin(evidence, node, stored),
        bound=max((_bound(evidence, value, node) for value, _ in stored), default=None),
    )


def proves(evidence: Evidence, value: ir.Value, format_: Format) -> bool:
    """Whether a tensor fits a format whatever the inputs are."""
    return _bound(evidence, value) <= format_.limits.largest


def _basis(evidence: Evidence, node: ir.Node, draft: Draft, stored: list[Stored]) -> Basis:
    if draft.rule in TOLD:
        return Basis.USER
    if stored:
        proven = all(_bound(evidence, value, node) <= format_.limits.largest for value, format_ in stored)
        return Basis.PROOF if proven else Basis.SAMPLES
    if draft.rule == "constant":
        return Basis.PROOF
    return Basis.SAMPLES if draft.rule in SEEN else Basis.RULE


def _stored_low(evidence: Evidence, node: ir.Node, draft: Draft) -> Iterator[Stored]:
    """Tensors that the node reads or makes in a format narrower than fp32."""
    row = evidence.rows[node]
    if draft.operands not in (None, Format.FP32):
        yield from ((value, draft.operands) for value in float_operands(node, row))
    if draft.result not in (None, Format.FP32):
        yield from ((value, draft.result) for value in float_results(node, row))


def _margin(evidence: Evidence, node: ir.Node, stored: list[Stored]) -> float | None:
    """The least factor between what was observed and what the format holds; None where nothing was observed."""
    found = [
        format_.limits.largest / magnitude if (magnitude := _seen(evidence, value, node)) else math.inf
        for value, format_ in stored
        if value in evidence.extents
    ]
    return min(found, default=None)


def _seen(evidence: Evidence, value: ir.Value, node: ir.Node) -> float:
    """Largest magnitude that calibration saw; of masked scores what a narrow format holds of them."""
    held = evidence.masks.of(node, value)
    return evidence.extents[value].magnitude if held is None else held.magnitude


def _bound(evidence: Evidence, value: ir.Value, node: ir.Node | None = None) -> float:
    held = None if node is None else evidence.masks.of(node, value)
    if held is not None:
        return held.magnitude if held.proven else math.inf
    bound = evidence.bounds.get(value)
    return math.inf if bound is None else bound.magnitude
