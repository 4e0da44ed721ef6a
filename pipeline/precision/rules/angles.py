"""Sines and cosines of large angles: positions times frequencies, as in rotary embeddings."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from pipeline.precision import attention
from pipeline.precision.evidence import Evidence, float_operands
from pipeline.precision.rules.claim import Claim

OPS = frozenset({"Sin", "Cos", "Tan"})

HARMLESS = 4.0
"""Angle up to which rounding it errs by no more than a few times what rounding the sine itself does."""


def claims(evidence: Evidence) -> Iterator[Claim]:
    """Each Sin, Cos and Tan of angles over `HARMLESS`, and what computes the angles from positions."""
    for node in evidence.rows:
        if node.op_type in OPS and (reason := _reason(evidence, node)):
            yield Claim(node=node, reason=reason)
            yield from _climb(evidence, node, reason, set())


def _reason(evidence: Evidence, node: ir.Node) -> str | None:
    angle = node.inputs[0]
    extent = evidence.extents.get(angle) if angle is not None else None
    if extent is None or extent.magnitude <= HARMLESS:
        return None
    error = extent.magnitude * evidence.low.limits.unit_roundoff
    return f"angles reach {extent.magnitude:.3g}: rounding them to {evidence.low} errs by up to {error:.2g} rad"


def _climb(evidence: Evidence, node: ir.Node, reason: str, seen: set[ir.Node]) -> Iterator[Claim]:
    for value in float_operands(node, evidence.rows[node]):
        maker = value.producer()
        if maker is None or maker in seen or maker not in evidence.rows:
            continue
        seen.add(maker)
        elementwise = attention.is_elementwise(maker)
        if elementwise or (maker.op_type in attention.PRODUCTS and _is_positional(evidence, maker)):
            yield Claim(node=maker, reason=reason)
            yield from _climb(evidence, maker, reason, seen)
        else:
            yield Claim(node=maker, reason=reason, operands=False)


def _is_positional(evidence: Evidence, product: ir.Node) -> bool:
    """Whether a product combines constants with what was cast from integers, and no activations."""
    return all(_from_integers(evidence, value) for value in float_operands(product, evidence.rows[product]))


def _from_integers(evidence: Evidence, value: ir.Value) -> bool:
    maker = value.producer()
    if maker is None:
        return value.is_initializer()
    if not attention.is_elementwise(maker) or maker not in evidence.rows:
        return False
    return all(_from_integers(evidence, operand) for operand in float_operands(maker, evidence.rows[maker]))
