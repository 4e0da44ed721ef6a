"""Floats that become integers: positions, buckets, counts. A rounding error there is a wrong index."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from pipeline.precision import attention
from pipeline.precision.evidence import Evidence, float_operands, float_results, is_float
from pipeline.precision.rules.claim import Claim

ROUNDING = frozenset({"Ceil", "Floor", "Mod", "Round"})


def claims(evidence: Evidence) -> Iterator[Claim]:
    """What makes whole numbers of floats, the elementwise computation before it, and integers too large to be exact."""
    seen: set[ir.Node] = set()
    for node in evidence.rows:
        if _discretises(node) and is_float(node.inputs[0]):
            yield from _claim(evidence, node, f"{node.op_type} {node.name} makes whole numbers of it", seen)
        elif reason := _inexact(evidence, node):
            yield Claim(node=node, reason=reason)


def _discretises(node: ir.Node) -> bool:
    if node.op_type == "Cast":
        kind = node.outputs[0].dtype
        return kind is not None and kind.is_integer()
    return node.op_type in ROUNDING


def _claim(evidence: Evidence, node: ir.Node, reason: str, seen: set[ir.Node]) -> Iterator[Claim]:
    if node in seen or node not in evidence.rows:
        return
    seen.add(node)
    yield Claim(node=node, reason=reason)
    for value in float_operands(node, evidence.rows[node]):
        maker = value.producer()
        if maker is not None and attention.is_elementwise(maker):
            yield from _claim(evidence, maker, reason, seen)


def _inexact(evidence: Evidence, node: ir.Node) -> str | None:
    """Why integers that `node` casts to float would not survive the low format."""
    if node.op_type != "Cast" or is_float(node.inputs[0]):
        return None
    exact = 2.0**evidence.low.limits.precision
    for value in float_results(node, evidence.rows[node]):
        extent = evidence.extents.get(value)
        if extent is not None and not extent.magnitude <= exact:
            return f"integers reach {extent.magnitude:.6g}, and {evidence.low} holds them exactly up to {exact:g} only"
    return None
