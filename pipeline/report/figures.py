"""What a reader wants to know first of a report: its worst layers, its headline, and numbers as text."""

from __future__ import annotations

import math
from collections import Counter

from pipeline.core.artifacts import ErrorStats, GpuCheck, Layer, Origin, PrecisionPlan, ValidationReport, View
from pipeline.precision.reducers.differences import decibels

GPU_VIEWS = 50
"""Tensors of the two views on a GPU that are listed; `report.json` has all."""


def worst(report: ValidationReport, count: int) -> list[Layer]:
    """The layers to look at first: bad ones in graph order (the first may have caused the rest), then by margin."""
    compared = [layer for layer in report.layers if layer.bad or (layer.stats is not None and margin(layer) < math.inf)]
    return sorted(compared, key=_rank)[:count]


def margin(layer: Layer) -> float:
    """How far a layer's SQNR is above its floor, in dB; infinite where it has no floor or no error."""
    if layer.stats is None or layer.floor_db is None:
        return math.inf
    return layer.stats.sqnr_db - layer.floor_db


def _rank(layer: Layer) -> tuple[bool, float]:
    return not layer.bad, layer.depth if layer.bad else margin(layer)


def gpu_views(check: GpuCheck) -> list[View]:
    """Tensors on the GPU to look at first: where fusion changes numbers, then by how far apart the two engines are."""

    def rank(view: View) -> tuple[bool, bool, float]:
        return not view.fusion_changes, view.apart_db is None, math.inf if view.apart_db is None else view.apart_db

    return sorted(check.views, key=rank)[:GPU_VIEWS]


def compared(report: ValidationReport) -> int:
    """Number of layers that were compared."""
    return sum(layer.stats is not None for layer in report.layers)


def origins(report: ValidationReport) -> tuple[Origin, ...]:
    """Where the figures of outputs and tasks come from, each once."""
    found = {item.origin for item in report.outputs} | {task.origin for task in report.tasks}
    return tuple(origin for origin in Origin if origin in found)


def formats(plan: PrecisionPlan) -> dict[str, int]:
    """Number of nodes by the format of their result; `integer` counts those without one."""
    counts = Counter("integer" if item.result is None else str(item.result) for item in plan.decisions)
    return dict(counts.most_common())


def db(value: float | None) -> str:
    """Decibels with one digit; `exact` for no error at all."""
    if value is None:
        return "–"
    if value == math.inf:
        return "exact"
    return f"{value:.1f} dB"


def worst_sample(stats: ErrorStats) -> str:
    """The signal to error of the worst sample, and which one it is; samples are counted from 0."""
    if stats.worst_sample < 0:
        return "–"
    last = stats.worst_sample + stats.worst_together - 1
    which = f"#{stats.worst_sample}" if stats.worst_together == 1 else f"#{stats.worst_sample} to {last}"
    error = stats.worst_relative_l2
    if error == 0:
        return db(math.inf)
    return f"{db(decibels(error)) if math.isfinite(error) else 'not finite'} ({which})"


def number(value: float | None) -> str:
    """Three significant digits."""
    return "–" if value is None else f"{value:.3g}"
