"""What the HTML page's script works on: layers by column, and the precision of modules as a tree."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from pipeline.core import serde
from pipeline.core.artifacts import (
    Decision,
    EnginePlans,
    ErrorStats,
    Layer,
    PrecisionPlan,
    SearchResult,
    ValidationReport,
)
from pipeline.precision.reducers.differences import decibels
from pipeline.report import figures, frontier, module_tree

REASONS = 3
"""Rules that a module's hover text names."""

STATS: dict[str, Callable[[ErrorStats], float]] = {
    "sqnr": lambda stats: stats.sqnr_db,
    "relative": lambda stats: stats.relative_l2,
    "max": lambda stats: stats.max_abs,
    "cosine": lambda stats: stats.cosine,
    "elements": lambda stats: stats.elements,
    "nan": lambda stats: stats.nan_candidate,
    "inf": lambda stats: stats.inf_candidate,
    "nanReference": lambda stats: stats.nan_reference,
    "infReference": lambda stats: stats.inf_reference,
    "mismatched": lambda stats: stats.mismatched_nonfinite,
    "meanSqnr": lambda stats: decibels(stats.mean_relative_l2),
}


def build(report: ValidationReport, plan: PrecisionPlan, plans: EnginePlans, search: SearchResult | None = None) -> Any:
    """The page's data as JSON-compatible values."""
    return serde.to_value(
        {
            "layers": _columns(report, plan, plans),
            "modules": _tree(plan),
            "made": _made(report),
            "low": plan.low,
            "search": frontier.columns(search),
            "worst": [layer.tensor for layer in figures.worst(report, 1)],
        }
    )


def _columns(report: ValidationReport, plan: PrecisionPlan, plans: EnginePlans) -> dict[str, list[Any]]:
    decisions = {item.node: item for item in plan.decisions}
    kernels = _kernels(plans)
    columns: dict[str, list[Any]] = defaultdict(list)
    for layer in report.layers:
        for name, value in _row(layer, decisions.get(layer.node), kernels.get(layer.node)):
            columns[name].append(value)
    return dict(columns)


def _row(layer: Layer, decision: Decision | None, kernel: str | None) -> Iterator[tuple[str, Any]]:
    for name in ("tensor", "node", "op", "module", "result", "depth", "bad", "reason", "origin"):
        yield name, getattr(layer, name)
    yield "floor", layer.floor_db
    yield "margin", None if layer.stats is None or layer.floor_db is None else figures.margin(layer)
    for name, figure in STATS.items():
        yield name, None if layer.stats is None else figure(layer.stats)
    yield "worstSqnr", None if layer.stats is None else decibels(layer.stats.worst_relative_l2)
    yield "worstSample", None if layer.stats is None else figures.worst_sample(layer.stats)
    yield "sqnrAll", None if layer.stats_all is None else layer.stats_all.sqnr_db
    yield "why", layer.why
    yield "own", None if layer.injected is None else layer.injected.relative_l2
    yield "ownSqnr", None if layer.injected is None else layer.injected.sqnr_db
    yield "ownNonfinite", None if layer.injected is None else layer.injected.nonfinite
    yield "operands", None if decision is None else decision.operands
    yield "accumulator", None if decision is None else decision.accumulator
    yield "rule", None if decision is None else decision.rule
    yield "decided", None if decision is None else decision.reason
    yield "grounds", None if decision is None else decision.grounds
    yield "kernel", kernel


def _kernels(plans: EnginePlans) -> dict[str, str]:
    """The kernel that holds each node, in the first plan that can be read."""
    text = next((item.text for item in plans.plans if item.text is not None and item.text.kernels), None)
    return (
        {} if text is None else {node: kernel.name or kernel.kind for kernel in text.kernels for node in kernel.nodes}
    )


def _made(report: ValidationReport) -> dict[str, list[Any]]:
    """Where error is made, and how much of it reaches the outputs, by module: parents come before their children."""
    found = module_tree.branches(report.layers)
    final = {item.module: item for item in report.contributions}
    measured = [final.get(".".join(item.path)) for item in found]
    return {
        "id": [".".join(item.path) for item in found],
        "parent": [".".join(item.path[:-1]) if item.path else None for item in found],
        "label": [item.path[-1] if item.path else "model" for item in found],
        "share": [item.share for item in found],
        "layers": [item.layers for item in found],
        "bad": [item.bad for item in found],
        "nonfinite": [item.nonfinite for item in found],
        "final": [None if item is None else item.share for item in measured],
        "breaks": [item is not None and math.isinf(item.noise) for item in measured],
    }


def _tree(plan: PrecisionPlan) -> dict[str, list[Any]]:
    """Modules from the root down: how many of their float nodes are kept in fp32, and by which rules."""
    members: dict[tuple[str, ...], list[Decision]] = defaultdict(list)
    for decision in plan.decisions:
        if decision.result is None:
            continue
        path = tuple(decision.module.split(".")) if decision.module else (decision.op,)
        for length in range(len(path) + 1):
            members[path[:length]].append(decision)
    rows: dict[str, list[Any]] = {"id": [], "parent": [], "label": [], "nodes": [], "wide": [], "why": []}
    for path, decisions in members.items():
        wide = [item for item in decisions if item.result is not plan.low]
        rows["id"].append("/".join(("model", *path)))
        rows["parent"].append("/".join(("model", *path[:-1])) if path else "")
        rows["label"].append(path[-1] if path else "model")
        rows["nodes"].append(len(decisions))
        rows["wide"].append(len(wide))
        rows["why"].append([f"{rule} ({count})" for rule, count in Counter(x.rule for x in wide).most_common(REASONS)])
    return rows
