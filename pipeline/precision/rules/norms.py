"""Normalisations: as operators, and written out as squares, mean, eps, root and quotient."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from pipeline.precision.decomposed_norms import Chain, find
from pipeline.precision.evidence import Evidence
from pipeline.precision.rules.claim import Claim

OPS = frozenset(
    {
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "LpNormalization",
        "LRN",
        "MeanVarianceNormalization",
    }
)
"""BatchNormalization is not among them: at inference it is a scale and a shift by constants. Of those, mean and
variance stay fp32 where the node is low; scale and bias are rounded with the data."""


def claims(evidence: Evidence) -> Iterator[Claim]:
    """Normalisation operators, and every node of those that the exporter wrote out."""
    for node in evidence.rows:
        if node.op_type in OPS and node.domain in ("", "ai.onnx"):
            yield Claim(node=node, reason=f"{node.op_type}: statistics, scale and bias in fp32")
    for chain in find(evidence.model.graph):
        reason = _reason(evidence, chain)
        for node in chain.nodes:
            yield Claim(node=node, reason=reason)


def _reason(evidence: Evidence, chain: Chain) -> str:
    extent = evidence.extents.get(chain.squares)
    seen = f", squares reach {extent.magnitude:.3g}" if extent is not None else ""
    return f"{chain.kind} written out{seen}: a rounding anywhere in it scales the whole row"


def is_norm(node: ir.Node) -> bool:
    """Whether `node` is a normalisation operator."""
    return node.op_type in OPS
