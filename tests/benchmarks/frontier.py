"""Which mixed graphs of one model no other beats: computed from the figures that the table shows, as it shows them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

Row = Mapping[str, object]

MEASURES = ("SQNR", "task", "masked row", "fp32 nodes", "casts", "kernels", "attentions")
"""By what a graph may beat another. Casts count in full, those that only ask for fp32 sums too."""


def beaten_by(row: Row, rows: Iterable[Row]) -> list[str]:
    """Who beats `row`: no worse by any of `MEASURES`, and better by at least one.

    Args:
        row: The fields of `graph_facts.Facts`, and `who`. A figure that is missing is the worst there is.
        rows: Such rows of the same model from the same data.

    Returns:
        Their names; none where `row` is on the frontier.
    """
    own = _losses(row)
    return [str(other["who"]) for other in rows if other is not row and _beats(_losses(other), own)]


def leads(row: Row, rows: Iterable[Row]) -> list[str]:
    """Measures by which `row` is better than every other row."""
    own, others = _losses(row), [_losses(other) for other in rows if other is not row]
    return [name for name in MEASURES if all(own[name] < other[name] for other in others)]


def _beats(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(one[name] <= other[name] for name in MEASURES) and any(one[name] < other[name] for name in MEASURES)


def _losses(row: Row) -> dict[str, float]:
    """One number a measure; less is better. A metric that is better than in fp32 is no better than the same."""
    return {
        "SQNR": -round(_number(row, "sqnr_db", -math.inf), 1),
        "task": max(0.0, round(_number(row, "worsening", 0.0), 5)),
        "masked row": _number(row, "masked_nan", 0.0),
        "fp32 nodes": _number(row, "fp32_nodes", math.inf),
        "casts": _number(row, "casts", math.inf),
        "kernels": _number(row, "kernels", math.inf),
        "attentions": -_number(row, "attentions", -math.inf),
    }


def _number(row: Row, name: str, missing: float) -> float:
    """A figure; `missing` where it was not measured, infinitely bad where it is NaN."""
    value = row.get(name)
    if not isinstance(value, int | float):
        return missing
    return value if not math.isnan(value) else -math.inf if name in ("sqnr_db", "attentions") else math.inf
