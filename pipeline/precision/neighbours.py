"""Decisions that follow from the neighbours': data movement, and casts that would buy nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.core.formats import Format
from pipeline.precision.draft import Draft
from pipeline.precision.evidence import Evidence, float_operands, float_results
from pipeline.precision.semantics import WEIGHTED, Movement, OpSemantics


def settle(evidence: Evidence, drafts: dict[ir.Node, Draft]) -> None:
    """Let nodes that no rule claimed follow their neighbours, until nothing changes; `drafts` is changed in place.

    - Data movement has the format of its data: the low one, unless the data is fp32 and something behind reads it so.
      Movement of weights alone has the format in which they are read.
    - A node between fp32 values on both sides, data movement apart, and a reduction of fp32 values, is fp32.
    - A node that computes in fp32 keeps an fp32 result where everything that reads it computes in fp32.
    """
    graph = evidence.model.graph
    neighbours = _Neighbours(
        graph=graph, rows=evidence.rows, drafts=drafts, low=evidence.low, constant=_constant(graph)
    )
    while any([neighbours.move(), neighbours.fill_islands(), neighbours.widen_results()]):
        pass


@dataclass(slots=True, kw_only=True)
class _Neighbours:
    graph: ir.Graph
    rows: dict[ir.Node, OpSemantics]
    drafts: dict[ir.Node, Draft]
    low: Format
    constant: frozenset[ir.Node]

    def move(self) -> bool:
        """Give data movement the format of its data. Returns whether anything changed, as the others do."""
        demanded = self._demanded()
        changed = False
        for node, row, draft in self._open():
            if row.movement is not Movement.EXACT:
                continue
            target = Format.FP32 if self._moves_fp32(node, row, demanded) else self.low
            if draft.computes_in is not target or draft.result not in (None, target):
                draft.use(target)
                if target is Format.FP32:
                    _follow(draft, "moves fp32 data that is read in fp32")
                changed = True
        return changed

    def fill_islands(self) -> bool:
        """Put nodes in fp32 where only casts would stand around them."""
        changed = False
        for node, row, draft in self._open():
            if row.movement is Movement.EXACT or row.op in WEIGHTED or draft.operands is Format.FP32:
                continue
            if not self._sources_are_fp32(node, row):
                continue
            if row.sums:
                draft.operands, draft.accumulator = Format.FP32, None
                _follow(draft, "a reduction of values that arrive in fp32")
                changed = True
            elif draft.result is not Format.FP32 and all(
                self._all_read_fp32(value) for value in float_results(node, row)
            ):
                draft.use(Format.FP32)
                _follow(draft, "between fp32 values on both sides, where the low format would only add casts")
                changed = True
        return changed

    def widen_results(self) -> bool:
        """Leave results in fp32 that were computed so and are only read so."""
        changed = False
        for node, row, draft in self._open(claimed=True):
            results = list(float_results(node, row))
            if row.op in WEIGHTED and draft.operands is not Format.FP32:
                continue  # an fp32 result would make it an fp32 product
            if draft.computes_in is not Format.FP32 or draft.result is not self.low or not results:
                continue
            if all(self._all_read_fp32(value) for value in results):
                draft.result = Format.FP32
                draft.reasons.append("its result stays fp32: everything that reads it computes in fp32")
                changed = True
        return changed

    def _open(self, *, claimed: bool = False) -> Iterator[tuple[ir.Node, OpSemantics, Draft]]:
        for node, row in self.rows.items():
            draft = self.drafts[node]
            if draft.computes_in is not None and not draft.pinned and (claimed or not draft.claimed):
                yield node, row, draft

    def _demanded(self) -> set[ir.Value]:
        """Values that something reads in fp32, through data movement that is still open."""
        demanded: set[ir.Value] = set()
        for node in reversed(list(self.rows)):
            demanded.update(value for value in node.outputs if value.is_graph_output() or self._captured(value))
            for position, value in enumerate(node.inputs):
                if value is not None and self._demands(node, position, demanded):
                    demanded.add(value)
        return demanded

    def _demands(self, node: ir.Node, position: int, demanded: set[ir.Value]) -> bool:
        row, draft = self.rows[node], self.drafts[node]
        if position in row.fp32_operands:
            return True
        if not self._is_open_movement(node):
            return draft.operands is Format.FP32
        results = list(float_results(node, row))
        return not results or any(value in demanded for value in results)

    def _moves_fp32(self, node: ir.Node, row: OpSemantics, demanded: set[ir.Value]) -> bool:
        operands, results = list(float_operands(node, row)), list(float_results(node, row))
        if not operands or node in self.constant:
            return all(self._all_read_fp32(value) for value in results)
        has_fp32 = any(self._format(value) is Format.FP32 for value in operands)
        return has_fp32 and (not results or any(value in demanded for value in results))

    def _sources_are_fp32(self, node: ir.Node, row: OpSemantics) -> bool:
        """Whether nothing varying that `node` reads is stored low."""
        formats = {self._source(value) for value in float_operands(node, row)} - {None}
        return formats <= {Format.FP32}

    def _source(self, value: ir.Value) -> Format | None:
        """Format of `value` before data movement that is still open; None for a weight, and what integers give."""
        node = value.producer()
        if node is None or node not in self.rows or not (self._is_open_movement(node) or node in self.constant):
            made_of_integers = node in self.rows and node.op_type == "Cast" and self.drafts[node].operands is None
            return None if made_of_integers else self._format(value)
        found = {self._source(operand) for operand in float_operands(node, self.rows[node])} - {None}
        return next(iter(found)) if len(found) == 1 else (self.low if found else None)

    def _format(self, value: ir.Value) -> Format | None:
        """Format that `value` is stored in; None for a weight, which is stored as it is read."""
        if value.is_initializer() and not value.is_graph_input():
            return None
        producer = value.producer()
        if producer is None or producer not in self.drafts:
            return Format.FP32
        if value.index() in self.rows[producer].fp32_results:
            return Format.FP32
        return self.drafts[producer].result or Format.FP32

    def _all_read_fp32(self, value: ir.Value) -> bool:
        """Whether all that reads `value`, through data movement that is still open, reads fp32."""
        return all(self._reads_fp32(node, position) for node, position in value.uses())

    def _reads_fp32(self, node: ir.Node, position: int) -> bool:
        row = self.rows.get(node)
        if row is None or position in row.fp32_operands or row.movement is Movement.INTEGER:
            return True
        if self._is_open_movement(node):
            return all(self._all_read_fp32(value) for value in float_results(node, row))
        return self.drafts[node].operands is Format.FP32

    def _is_open_movement(self, node: ir.Node) -> bool:
        draft = self.drafts[node]
        return self.rows[node].movement is Movement.EXACT and not draft.claimed and not draft.pinned

    def _captured(self, value: ir.Value) -> bool:
        return any(use.node.graph is not self.graph for use in value.uses())


def _constant(graph: ir.Graph) -> frozenset[ir.Node]:
    """Nodes that compute the same for every input, so that their results are weights, stored as they are read."""
    found: set[ir.Node] = set()
    for node in graph:
        values = [value for value in node.inputs if value is not None]
        if all(
            value.producer() in found or (value.is_initializer() and not value.is_graph_input()) for value in values
        ):
            found.add(node)
    return frozenset(found)


def _follow(draft: Draft, reason: str) -> None:
    draft.rule, draft.reasons = "neighbours", [reason]
