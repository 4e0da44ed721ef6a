"""What a search found, in the words and figures that page, terminal and Markdown share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pipeline.core.artifacts import Confirmation, Outcome, Purchase, SearchPoint, SearchResult
from pipeline.report import figures

PURCHASES = 12
"""Purchases that a table shows."""

FRONTIER = 12
"""Points of the frontier that a table shows."""

POINT_HEADERS = ("plan", "cost", "casts", "fp32 nodes", "SQNR", "budget", "")
PURCHASE_HEADERS = ("group", "nodes", "in fp32", "costs", "buys", "why")
HELD_OUT_HEADERS = ("plan", "SQNR", "task metric", "verdict")

FIGURES = frozenset({"cost", "casts", "fp32 nodes", "SQNR", "nodes", "costs", "buys"})
"""Headers of columns of figures."""


def sentence(found: SearchResult) -> str:
    """How the search ended, in one sentence."""
    chosen, default = found.points[found.chosen], found.points[found.default]
    tried = f"{len(found.points)} plans in {found.trials} trials on {found.samples} samples"
    if found.remembered:
        tried += f" ({found.remembered} more were remembered)"
    if found.outcome is Outcome.FELL_BACK:
        return f"Nothing cheaper than the default policy's plan held on samples that the search never saw; {tried}."
    return (
        f"{chosen.fp32_nodes} nodes in fp32 instead of {default.fp32_nodes}, {chosen.casts} casts instead of "
        f"{default.casts}, {_price(found)}, {figures.db(chosen.sqnr_db)}; {tried}."
    )


def _price(found: SearchResult) -> str:
    """What the chosen plan costs beside the default policy's."""
    chosen, default = found.points[found.chosen], found.points[found.default]
    counted = f"{share(found, chosen)} of the default plan's cost"
    if chosen.latency_ms is None:
        return counted
    beside = "" if default.latency_ms is None else f" instead of {default.latency_ms:.3f} ms"
    return f"{chosen.latency_ms:.3f} ms{beside} on {found.measured_on} ({counted} by count)"


def reason(found: SearchResult) -> str:
    """Why this plan and not the cheapest, in one sentence."""
    chosen, cheapest = found.points[found.chosen], found.points[found.cheapest]
    price, least = (point.latency_ms or point.cost if found.measured_on else point.cost for point in (chosen, cheapest))
    what = "latencies" if found.measured_on else "costs"
    told = f"{found.resolution / least:.1%}" if least > 0 else figures.number(found.resolution)
    if found.outcome is Outcome.FELL_BACK:
        return "The default policy's plan is what is left."
    if not price - least <= found.resolution:
        return "What is cheaper did not hold on samples that the search never saw."
    if found.chosen == found.cheapest:
        return (
            f"It is the cheapest that meets the budget; {what} are not told apart within {told}, and none that near "
            "has half its error and fewer fp32 nodes than the default policy's."
        )
    return (
        f"It is {price / least - 1:.2%} dearer than the cheapest that meets the budget "
        f"({cheapest.fp32_nodes} nodes in fp32, {cheapest.casts} casts, {figures.db(cheapest.sqnr_db)}), and {what} "
        f"are not told apart within {told}; {_better(chosen, cheapest)}."
    )


def _better(chosen: SearchPoint, cheapest: SearchPoint) -> str:
    """What a plan has over the cheapest that costs do not tell from it: accuracy, or less in fp32 for hardly any."""
    gained = chosen.sqnr_db - cheapest.sqnr_db
    if gained > 0:
        return f"it is {gained:.1f} dB better on what the search saw"
    leaner = (("casts", cheapest.casts - chosen.casts), ("nodes in fp32", cheapest.fp32_nodes - chosen.fp32_nodes))
    saved = " and ".join(f"{count} {what}" for what, count in leaner if count > 0)
    return f"it saves {saved} for {-gained:.1f} dB on what the search saw"


def share(found: SearchResult, point: SearchPoint) -> str:
    """A point's cost as a share of the default plan's."""
    whole = found.points[found.default].cost
    return f"{point.cost / whole:.2%}" if whole > 0 else figures.number(point.cost)


def budget(found: SearchResult) -> str:
    """What was asked, in words."""
    asked = found.budget
    words = f"at least {asked.sqnr_db:.1f} dB, within {asked.atol:g} + {asked.rtol:g} × |reference| at every output"
    if asked.metric is not None and asked.worsening is not None:
        words += f", {asked.metric} worse by at most {asked.worsening:g}"
    return words


def names(found: SearchResult, position: int) -> str:
    """What is special about a point: `chosen`, `cheapest`, `default policy`, `knee`, `overfitted`."""
    marks = {
        "chosen": position == found.chosen,
        "cheapest": position == found.cheapest,
        "default policy": position == found.default,
        "knee": position == found.knee,
        "overfitted": position in found.overfitted,
    }
    return ", ".join(name for name, holds in marks.items() if holds)


def point_rows(found: SearchResult) -> list[Sequence[str]]:
    """The frontier, cheapest first, and the points that have a name."""
    named = [at for at, point in enumerate(found.points) if names(found, at)]
    frontier = [at for at, point in enumerate(found.points) if point.frontier and at not in named]
    shown = sorted({*named, *frontier[: max(0, FRONTIER - len(named))]})
    return [_point_row(found, at) for at in shown]


def _point_row(found: SearchResult, at: int) -> Sequence[str]:
    point = found.points[at]
    return (
        point.label,
        share(found, point) + ("" if point.latency_ms is None else f" ({point.latency_ms:.3f} ms)"),
        str(point.casts),
        str(point.fp32_nodes),
        figures.db(point.sqnr_db) if math.isfinite(point.sqnr_db) or point.sqnr_db > 0 else "broken",
        "✓" if point.meets else f"✗ {point.reason}",
        names(found, at),
    )


def purchase_rows(found: SearchResult) -> list[Sequence[str]]:
    """What fp32 buys, group by group, the one that buys most first."""
    return [_purchase_row(found, item) for item in found.purchases[:PURCHASES]]


def _purchase_row(found: SearchResult, item: Purchase) -> Sequence[str]:
    whole = found.points[found.default].cost
    cost = f"{item.cost / whole:+.2%}" if whole > 0 else figures.number(item.cost)
    bought = "finite outputs" if item.sqnr_db == math.inf else f"{item.sqnr_db:+.1f} dB"
    return item.group, str(item.nodes), "yes" if item.in_plan else "no", cost, bought, item.reason


def held_out_rows(found: SearchResult) -> list[Sequence[str]]:
    """What plans do on samples that the search never saw."""
    return [_held_out_row(found, item) for item in found.confirmations]


def _held_out_row(found: SearchResult, item: Confirmation) -> Sequence[str]:
    task = ""
    if item.task_reference is not None and item.task_candidate is not None:
        task = f"{item.task_reference:.6g} → {item.task_candidate:.6g} ({item.task_samples} samples)"
    sqnr = f"{figures.db(item.sqnr_db)} ({item.samples} samples)"
    return found.points[item.point].label, sqnr, task, f"{'✓' if item.passed else '✗'} {item.reason}"


def columns(found: SearchResult | None) -> dict[str, Any] | None:
    """What the page's script draws, one column a figure; None where there was no search."""
    if found is None:
        return None
    whole = found.points[found.default].cost or 1.0
    held = {item.point: item for item in found.confirmations}
    points = list(enumerate(found.points))
    return {
        "unit": found.cost_unit,
        "floor": 10 ** (-found.budget.sqnr_db / 20),
        "cost": [100 * point.cost / whole for _, point in points],
        "absolute": [point.cost for _, point in points],
        "latency": [point.latency_ms for _, point in points],
        "noise": [point.noise for _, point in points],
        "sqnr": [point.sqnr_db for _, point in points],
        "label": [point.label for _, point in points],
        "casts": [point.casts for _, point in points],
        "wide": [point.fp32_nodes for _, point in points],
        "meets": [point.meets for _, point in points],
        "frontier": [point.frontier for _, point in points],
        "names": [names(found, at) for at, _ in points],
        "reason": [point.reason for _, point in points],
        "heldOut": [None if at not in held else held[at].reason for at, _ in points],
        "changes": [
            [f"{item.direction} {item.group} ({len(item.nodes)})" for item in point.changes[:4]] for _, point in points
        ],
    }
