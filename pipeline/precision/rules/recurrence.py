"""LSTM, GRU and RNN."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.precision.evidence import Evidence
from pipeline.precision.rules.claim import Claim
from pipeline.precision.semantics import Movement


def claims(evidence: Evidence) -> Iterator[Claim]:
    """Every recurrence: in a low format its state is rounded at every step."""
    for node, row in evidence.rows.items():
        if row.movement is Movement.STATEFUL:
            yield Claim(node=node, reason=f"a recurrence: in {evidence.low} its state would be rounded at every step")
