"""Tensors most of whose values the low format would lose to zero."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from pipeline.precision import attention
from pipeline.precision.bounds.extents import Extent
from pipeline.precision.evidence import Evidence, float_operands, float_results
from pipeline.precision.rules import guards
from pipeline.precision.rules.claim import Claim
from pipeline.precision.semantics import WEIGHTED, Movement

MAGNIFIERS = frozenset({"Log", "Reciprocal", "Sqrt"})
"""Operators near whose zero a small operand makes a large difference."""

MAGNIFIED_SHARE = 0.01
"""Share of the elements that may be lost before one of those."""


def claims(evidence: Evidence) -> Iterator[Claim]:
    """Nodes that make or read a tensor which loses more than the allowed share of its elements.

    What is lost beside values so large that their own rounding outweighs it does no harm in a sum: probabilities before
    their product with V, say. Before a root, a logarithm or a reciprocal little may be lost: the root of squares, say.
    """
    for node in evidence.rows:
        if node.op_type in MAGNIFIERS:
            yield from _magnified(evidence, node, node)
    yield from guards.claims(evidence)
    for node, row in evidence.rows.items():
        for value in float_operands(node, row):
            if reason := _loses(evidence, value):
                holder = evidence.holder(node, evidence.extents[value].magnitude)
                yield Claim(node=node, reason=reason, result=False, format=holder)
        for value in float_results(node, row):
            if reason := _loses(evidence, value):
                holder = evidence.holder(node, evidence.extents[value].magnitude)
                operands = not row.sums or row.op in WEIGHTED
                yield Claim(node=node, reason=reason, operands=operands, format=holder)


def _magnified(evidence: Evidence, node: ir.Node, magnifier: ir.Node) -> Iterator[Claim]:
    """`node` and the elementwise nodes before it, as long as what they hand on loses elements."""
    for value in float_operands(node, evidence.rows[node]):
        extent = evidence.extents.get(value)
        if extent is None or extent.lost_share <= MAGNIFIED_SHARE:
            continue
        share = f"{extent.lost_share:.0%} of {value.name} would round to zero in {evidence.low}"
        reason = f"{share}, and {magnifier.op_type} {magnifier.name} magnifies what is small"
        yield Claim(node=node, reason=reason, format=evidence.holder(node, extent.magnitude))
        maker = value.producer()
        if maker is not None and maker in evidence.rows and attention.is_elementwise(maker):
            holder = evidence.holder(maker, extent.magnitude)
            yield Claim(node=maker, reason=f"{share} before {magnifier.op_type} {magnifier.name}", format=holder)
            yield from _magnified(evidence, maker, magnifier)


def _loses(evidence: Evidence, value: ir.Value) -> str | None:
    extent = evidence.extents.get(value)
    if extent is None:
        return None
    limits = evidence.low.limits
    if 0.0 < extent.magnitude < limits.smallest_normal:
        return (
            f"{value.name} is {extent.magnitude:.3g} at most, under {evidence.low}'s smallest normal number "
            f"{limits.smallest_normal:.3g}"
        )
    if extent.lost_share <= evidence.spec.underflow_share:
        return None
    if _outweighed(evidence, extent) and _only_summed(evidence, value):
        return None
    return f"{extent.lost_share:.0%} of {value.name} would round to zero in {evidence.low}"


def _outweighed(evidence: Evidence, extent: Extent) -> bool:
    limits = evidence.low.limits
    return limits.flush_to_zero <= extent.magnitude * limits.unit_roundoff


def _only_summed(evidence: Evidence, value: ir.Value) -> bool:
    """Whether all that reads `value`, through data movement, adds its elements up."""
    return all(_sums(evidence, use.node) for use in value.uses())


def _sums(evidence: Evidence, node: ir.Node) -> bool:
    row = evidence.rows.get(node)
    if row is None:
        return False
    if row.sums or node.op_type in ("Add", "Sub", "Sum"):
        return True
    return row.movement is Movement.EXACT and all(_only_summed(evidence, value) for value in node.outputs)
