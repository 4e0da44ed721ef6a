"""What a search tried, as the record that is shown: points, frontier, knee, purchases."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from pipeline.analysis.search.choice import Tried, Wide
from pipeline.analysis.search.groups import Group
from pipeline.analysis.search.memory import plan_digest
from pipeline.analysis.search.plan_search import PlanSearch
from pipeline.core.artifacts import (
    Budget,
    Confirmation,
    Outcome,
    PrecisionPlan,
    Purchase,
    SearchPoint,
    SearchResult,
)
from pipeline.precision.costing.cost import Measurement
from pipeline.precision.policy.search_space import Space
from pipeline.precision.reducers.differences import decibels


def told(
    search: PlanSearch,
    space: Space,
    *,
    budget: Budget,
    measured_on: str,
    priced: Iterable[Tried],
    plan: Callable[[Wide, Mapping[str, str]], PrecisionPlan],
    chosen: Tried,
    cheapest: Tried,
    confirmations: Sequence[tuple[Tried, Confirmation]],
    trials: int,
    remembered: int,
    samples: int,
) -> SearchResult:
    """The record of a search that ended with `chosen`; `priced` are the plans that it was chosen from."""
    latencies = {item.wide: item.cost.measured for item in priced}
    named = {chosen.wide, cheapest.wide, search.default, *latencies, *(item.wide for item, _ in confirmations)}
    order, position = _distinct(search, space, named)
    points = _marked([_point(item, position, latencies.get(item.wide)) for item in order])
    purchases = _purchases(search, chosen, cheapest)
    reasons = {
        node: purchase.reason for group, purchase in purchases if purchase.in_plan for node in sorted(group.nodes)
    }
    return SearchResult(
        plan=plan(chosen.wide, reasons),
        outcome=Outcome.FOUND if confirmations[-1][1].passed else Outcome.FELL_BACK,
        budget=budget,
        cost_unit=search.cost(search.default).unit,
        points=points,
        chosen=position[chosen.wide],
        cheapest=position[cheapest.wide],
        resolution=cheapest.cost.resolution,
        default=position[search.default],
        knee=knee(points),
        purchases=tuple(purchase for _, purchase in purchases),
        kept=space.kept,
        confirmations=tuple(dataclasses.replace(item, point=position[tried.wide]) for tried, item in confirmations),
        trials=trials,
        remembered=remembered,
        samples=samples,
        measured_on=measured_on,
    )


def knee(points: Sequence[SearchPoint]) -> int | None:
    """Position of the point of the frontier that lies farthest from the line between its ends, in cost and dB."""
    ends = [index for index, point in enumerate(points) if point.frontier and math.isfinite(point.sqnr_db)]
    if len(ends) < 3:
        return None
    first, last = points[ends[0]], points[ends[-1]]
    width, height = last.cost - first.cost, last.sqnr_db - first.sqnr_db
    if not (width > 0 and height > 0):
        return None

    def bulge(index: int) -> float:
        return (points[index].sqnr_db - first.sqnr_db) / height - (points[index].cost - first.cost) / width

    best = max(ends, key=bulge)
    return best if bulge(best) > 0 else None


def _distinct(search: PlanSearch, space: Space, wanted: set[Wide]) -> tuple[list[Tried], dict[Wide, int]]:
    """Plans that differ, cheapest first, and the position of every plan that was tried."""
    by_numbers: dict[str, Tried] = {}
    same: dict[Wide, str] = {}
    tried = sorted(search.tried.values(), key=lambda item: (item.wide not in wanted, item.cost.total))
    for item in tried:
        same[item.wide] = plan_digest(space.formats(item.wide))
        by_numbers.setdefault(same[item.wide], item)
    order = sorted(by_numbers.items(), key=lambda pair: (pair[1].cost.total, pair[1].answer.noise))
    places = {numbers: index for index, (numbers, _) in enumerate(order)}
    return [item for _, item in order], {wide: places[numbers] for wide, numbers in same.items()}


def _point(tried: Tried, position: Mapping[Wide, int], measured: Measurement | None) -> SearchPoint:
    return SearchPoint(
        label=tried.label,
        cost=tried.cost.total,
        casts=tried.cost.casts,
        fp32_nodes=tried.cost.fp32_nodes,
        noise=tried.answer.noise,
        sqnr_db=decibels(tried.answer.noise),
        meets=tried.answer.passed,
        reason=tried.answer.reason,
        changes=tried.changes,
        since=None if tried.since is None or position[tried.since] == position[tried.wide] else position[tried.since],
        latency_ms=None if measured is None else measured.latency_ms,
    )


def _marked(points: Sequence[SearchPoint]) -> tuple[SearchPoint, ...]:
    """`points`, cheapest first, with those marked that err less than every cheaper one."""
    found: list[SearchPoint] = []
    least = math.inf
    for point in points:
        found.append(dataclasses.replace(point, frontier=point.noise < least))
        least = min(least, point.noise)
    return tuple(found)


def _purchases(search: PlanSearch, chosen: Tried, cheapest: Tried) -> list[tuple[Group, Purchase]]:
    rows = []
    for group, tried in search.measure().items():
        gain, price = search.gain(tried), search.added_price(tried)
        purchase = Purchase(
            group=group.label,
            op_kind=group.kind,
            module=group.module,
            nodes=len(group.members),
            in_plan=group.nodes <= chosen.wide,
            cost=price,
            sqnr_db=gain,
            reason=_reason(group, price, chosen, cheapest, freed=group.nodes <= search.default),
        )
        rows.append((group, purchase))
    return sorted(rows, key=lambda row: -row[1].sqnr_db)


def _reason(group: Group, price: float, chosen: Tried, cheapest: Tried, *, freed: bool) -> str:
    if not group.nodes <= chosen.wide:
        return f"{'freed' if freed else 'left low'}: the budget holds without it"
    if not group.nodes <= cheapest.wide and chosen.cost.ties(cheapest.cost):
        return "kept: it lowers the error at no cost that could be told"
    return "kept: without it the budget is not met" if price > 0 else "kept: Casts around it would cost more"
