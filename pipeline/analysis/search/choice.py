"""Which of the plans that pass is taken: the cheapest, or what is better where cost does not tell the two apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.analysis.verdict.judge import Answer
from pipeline.core.artifacts import Change
from pipeline.precision.costing.cost import Cost

Wide = frozenset[str]
"""Names of the candidates that a plan has in fp32."""

WORTH = 2.0
"""Times the error of the best near tie that a plan may have and still be as good: one bit, or 6 dB.

More fp32 for less than that buys nothing to rely on: from one set of samples to another the error differs by as much.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One plan that was tried.

    Attributes:
        wide: The plan.
        label: In words.
        answer: What it gave.
        cost: What it costs.
        changes: What it changes in comparison with `since`.
        since: The plan that it was made from, or None.
    """

    wide: Wide
    label: str
    answer: Answer
    cost: Cost
    changes: tuple[Change, ...] = ()
    since: Wide | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How a search ends.

    Attributes:
        taken: The plan that is taken.
        cheapest: The cheapest of those that it was chosen from.
    """

    taken: Tried
    cheapest: Tried


def choose(plans: Iterable[Tried], default: Tried) -> Choice:
    """Choose among plans that all pass.

    Of those that cost does not tell from the cheapest, and that have fewer fp32 nodes than the default policy's plan
    where there are such, the ones within `WORTH` of the least error are as good as each other. Of these the one with
    the fewest Casts is taken, then the fewest fp32 nodes, then the least cost.

    Args:
        plans: At least one.
        default: The default policy's plan.
    """
    passing = list(plans)
    cheapest = min(passing, key=lambda item: (item.cost.total, item.answer.noise))
    near = [item for item in passing if item.cost.ties(cheapest.cost)]
    lean = [item for item in near if item.cost.fp32_nodes < default.cost.fp32_nodes] or near
    least = min(item.answer.noise for item in lean)
    good = [item for item in lean if item.answer.noise <= WORTH * least]
    taken = min(good, key=lambda item: (item.cost.casts, item.cost.fp32_nodes, item.cost.total))
    return Choice(taken=taken, cheapest=cheapest)
