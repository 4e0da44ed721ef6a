"""Softmax and LogSoftmax, with the scale and mask before them."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.precision import attention
from pipeline.precision.evidence import Evidence
from pipeline.precision.rules.claim import Claim

OPS = frozenset({"Softmax", "LogSoftmax"})


def claims(evidence: Evidence) -> Iterator[Claim]:
    """Each Softmax, and the elementwise nodes from the product whose result it normalises.

    The product itself and the product with V stay low: with fp32 between them TensorRT still fuses the attention, with
    an fp32 operand at either it does not.
    """
    for node in evidence.rows:
        if node.op_type not in OPS or node.domain not in ("", "ai.onnx"):
            continue
        yield Claim(node=node, reason=f"{node.op_type}: exponentials and their sum in fp32")
        _, path = attention.score_path(node)
        for before in path:
            yield Claim(node=before, reason=f"scale or mask of the scores that {node.op_type} {node.name} normalises")
