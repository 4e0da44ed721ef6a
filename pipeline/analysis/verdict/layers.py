"""From differences and floors to one record a layer, good or bad."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir

from pipeline.analysis.comparison.compare import Compared
from pipeline.analysis.verdict.floors import FORMATS, expected_sqnr, fp32_floor
from pipeline.analysis.verdict.louder import louder
from pipeline.core.artifacts import ErrorStats, Fate, Injected, Layer
from pipeline.core.formats import Format
from pipeline.graph import modules


def layers(
    reference: ir.Model,
    mixed: ir.Model,
    fates: Mapping[str, Fate],
    compared: Mapping[str, Compared],
    gaps: Mapping[str, str],
    slack_db: float,
) -> tuple[Layer, ...]:
    """One record for every tensor that was compared or is missing with a reason, in graph order."""
    expected, allowed = expected_sqnr(mixed), louder(reference, compared)
    stored = {str(value.name): value.dtype for node in mixed.graph for value in node.outputs}
    found: list[Layer] = []
    for depth, (node, value) in enumerate(_tensors(reference.graph)):
        name = str(value.name)
        fate = fates.get(name)
        now = name if fate is None or fate.now is None else fate.now
        place = _Place(node, name, depth, FORMATS.get(stored.get(now) or ir.DataType.FLOAT, Format.FP32))
        if name in compared:
            found.append(_judged(place, compared[name], expected[now] - allowed.get(name, 0.0), slack_db))
        elif name in gaps:
            found.append(place.layer(None, reason=gaps[name]))
    return tuple(found)


def worse(one: Layer, other: Layer) -> Layer:
    """The one of two records of a layer that speaks more against it, with the larger error of its own node."""
    chosen = _worse(one, other)
    injected = [layer.injected for layer in (one, other) if layer.injected is not None]
    if not injected:
        return chosen
    return replace(chosen, injected=max(injected, key=lambda own: (own.nonfinite, own.relative_l2)))


def _worse(one: Layer, other: Layer) -> Layer:
    if one.stats is None or other.stats is None or one.bad != other.bad:
        return other if other.bad else one
    return other if not other.stats.sqnr_db >= one.stats.sqnr_db else one


class _Place:
    def __init__(self, node: ir.Node, tensor: str, depth: int, result: Format) -> None:
        self.node, self.tensor, self.depth, self.result = node, tensor, depth, result

    def layer(
        self,
        stats: ErrorStats | None,
        *,
        stats_all: ErrorStats | None = None,
        floor_db: float | None = None,
        bad: bool = False,
        reason: str | None = None,
        injected: Injected | None = None,
    ) -> Layer:
        return Layer(
            tensor=self.tensor,
            node=str(self.node.name),
            op=self.node.op_type,
            module=modules.module_of(self.node),
            result=self.result,
            depth=self.depth,
            stats=stats,
            stats_all=stats_all,
            floor_db=floor_db,
            bad=bad,
            reason=reason,
            injected=injected,
        )


def _judged(place: _Place, compared: Compared, expected: float, slack_db: float) -> Layer:
    stats = compared.kept.stats()
    stats_all = None if compared.everything is None else compared.everything.stats()
    floor = expected - slack_db if math.isfinite(expected) else None
    reason = _problem(stats, floor, place, slack_db)
    injected = None if compared.alone is None else compared.alone.injected()
    return place.layer(
        stats, stats_all=stats_all, floor_db=floor, bad=reason is not None, reason=reason, injected=injected
    )


def _problem(stats: ErrorStats, floor: float | None, place: _Place, slack_db: float) -> str | None:
    if stats.elements == 0:
        return "it had no element to compare"
    if stats.nan_candidate or stats.nan_reference:
        where = "in both" if stats.nan_reference else "where its reference has none"
        return f"{stats.nan_candidate or stats.nan_reference:,} of {stats.elements:,} elements are NaN {where}"
    if stats.mismatched_nonfinite:
        return (
            f"{stats.mismatched_nonfinite:,} of {stats.elements:,} elements are infinite where their reference is not: "
            f"beyond {place.result.limits.largest:g} in {place.result}, or made from such"
        )
    if floor is not None and not stats.sqnr_db >= floor:
        return (
            f"SQNR {stats.sqnr_db:.1f} dB is under {floor:.1f} dB, "
            f"{slack_db:g} dB below what the roundings upstream are expected to leave"
        )
    exact = fp32_floor(place.depth + 1) - slack_db
    if floor is None and not stats.sqnr_db >= exact:
        return f"nothing upstream rounds, and yet SQNR {stats.sqnr_db:.1f} dB is under fp32's own {exact:.1f} dB"
    return None


def _tensors(graph: ir.Graph) -> list[tuple[ir.Node, ir.Value]]:
    found: list[tuple[ir.Node, ir.Value]] = []
    for node in graph:
        found += [(node, value) for value in node.outputs]
        for attribute in node.attributes.values():
            if attribute.type is ir.AttributeType.GRAPH:
                inside = ir.traversal.RecursiveGraphIterator(attribute.as_graph())
                found += [(inner, value) for inner in inside for value in inner.outputs]
    return found
