"""Decisions that follow from the neighbours': data movement, and casts that would buy nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.core.formats import Format
from pipeline.precision.evidence import Evidence, float_operands, float_results
from pipeline.precision.policy.draft import Draft
from pipeline.precision.semantics import WEIGHTED, Movement, OpSemantics


class Neighbours:
    """The graph as `settle` walks it, read once for all plans."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence, self._wiring = evidence, _Wiring.of(evidence)

    def settle(self, drafts: dict[ir.Node, Draft]) -> None:
        """Let nodes that no rule claimed follow their neighbours, until nothing changes; `drafts` is changed in place.

        - Data movement has the format of its data: the low one, unless the data is wider and something behind reads it
          so. Movement of weights alone has the format in which they are read.
        - A node between fp32 values on both sides, data movement apart, and a reduction of fp32 values, is fp32.
          Between bf16 values it is bf16.
        - A node that computes in fp32 keeps an fp32 result where everything that reads it computes in fp32; likewise
          bf16.
        """
        low = self._evidence.low
        walk = _Settling(
            evidence=self._evidence,
            wiring=self._wiring,
            rows=self._evidence.rows,
            drafts=drafts,
            low=low,
            wides=_wides(low, drafts),
        )
        while any([walk.move(), walk.fill_islands(), walk.widen_results()]):
            pass


def _wides(low: Format, drafts: dict[ir.Node, Draft]) -> tuple[Format, ...]:
    """Formats wider than the low one that are in use, the widest first."""
    used = {format_ for draft in drafts.values() for format_ in (draft.operands, draft.result)}
    between = (Format.BF16,) if low is not Format.BF16 and Format.BF16 in used else ()
    return (Format.FP32, *between)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wiring:
    """What reads what.

    Attributes:
        operands: Operands of each node whose format its decision sets.
        results: Results likewise.
        readers: What reads each result, with the position.
        leaving: Results of each node that are read in fp32 whatever is decided, as outputs or by a subgraph.
        constant: Nodes that compute the same for every input.
    """

    operands: dict[ir.Node, tuple[ir.Value, ...]]
    results: dict[ir.Node, tuple[ir.Value, ...]]
    readers: dict[ir.Value, tuple[tuple[ir.Node, int], ...]]
    leaving: dict[ir.Node, tuple[ir.Value, ...]]
    constant: frozenset[ir.Node]

    @classmethod
    def of(cls, evidence: Evidence) -> _Wiring:
        """The wiring of the main graph."""
        rows, graph = evidence.rows, evidence.model.graph
        made = [value for node in rows for value in node.outputs]
        readers = {value: tuple((use.node, use.idx) for use in value.uses()) for value in made}
        left = {
            value
            for value in made
            if value.is_graph_output() or any(node.graph is not graph for node, _ in readers[value])
        }
        return cls(
            operands={node: tuple(float_operands(node, row)) for node, row in rows.items()},
            results={node: tuple(float_results(node, row)) for node, row in rows.items()},
            readers=readers,
            leaving={node: tuple(value for value in node.outputs if value in left) for node in rows},
            constant=_constant(graph),
        )


@dataclass(slots=True, kw_only=True)
class _Settling:
    """One plan that is being settled."""

    evidence: Evidence
    wiring: _Wiring
    rows: dict[ir.Node, OpSemantics]
    drafts: dict[ir.Node, Draft]
    low: Format
    wides: tuple[Format, ...]

    def move(self) -> bool:
        """Give data movement the format of its data. Returns whether anything changed, as the others do."""
        demanded = {wide: self._demanded(wide) for wide in self.wides}
        changed = False
        for node, row, draft in self._open():
            if row.movement is not Movement.EXACT:
                continue
            moved = (wide for wide in self.wides if self._moves(node, wide, demanded[wide]))
            target = next(moved, self.low)
            if draft.computes_in is not target or draft.result not in (None, target):
                draft.use(target)
                if target is not self.low:
                    _follow(draft, f"moves {target} data that is read in {target}")
                changed = True
        return changed

    def fill_islands(self) -> bool:
        """Put nodes in fp32 where only casts would stand around them."""
        changed = False
        for node, row, draft in self._open():
            if row.movement is Movement.EXACT or row.op in WEIGHTED:
                continue
            around = self._around(node)
            if around is None or (draft.operands is not None and draft.operands.width >= around.width):
                continue
            if row.sums and around is Format.FP32:
                draft.operands, draft.accumulator = Format.FP32, None
                _follow(draft, "a reduction of values that arrive in fp32")
                changed = True
            elif draft.result is not around and self._results_read(node, around):
                draft.use(around)
                _follow(draft, f"between {around} values on both sides, where {self.low} would only add casts")
                changed = True
        return changed

    def widen_results(self) -> bool:
        """Leave results in a wider format that were computed so and are only read so."""
        changed = False
        for node, row, draft in self._open(claimed=True):
            if draft.result is not self.low:
                continue
            kept = next((wide for wide in self.wides if self._keeps(node, row, draft, wide)), None)
            if kept is not None:
                draft.result = kept
                draft.reasons.append(f"its result stays {kept}: everything that reads it computes in {kept}")
                changed = True
        return changed

    def _keeps(self, node: ir.Node, row: OpSemantics, draft: Draft, wide: Format) -> bool:
        """Whether a result in a wide format saves what reads it a Cast, and loses nothing."""
        computed = draft.computes_in
        if computed is None or computed.width < wide.width or not self.wiring.results[node]:
            return False
        if row.op in WEIGHTED and draft.operands is not wide:
            return False  # an fp32 result would make it an fp32 product
        uses = [use for value in self.wiring.results[node] for use in self.wiring.readers[value]]
        if computed is not wide and any(self._reads(reader, position, computed) for reader, position in uses):
            return False  # rounding to bf16 would lose what that reader could use
        return self._results_read(node, wide)

    def _open(self, *, claimed: bool = False) -> Iterator[tuple[ir.Node, OpSemantics, Draft]]:
        for node, row in self.rows.items():
            draft = self.drafts[node]
            if draft.computes_in is not None and not draft.pinned and (claimed or not draft.claimed):
                yield node, row, draft

    def _demanded(self, wide: Format) -> set[ir.Value]:
        """Values that something reads in a format or a wider one, through data movement that is still open."""
        demanded: set[ir.Value] = set()
        for node in reversed(list(self.rows)):
            demanded.update(self.wiring.leaving[node])
            for position, value in enumerate(node.inputs):
                if value is not None and self._demands(node, position, wide, demanded):
                    demanded.add(value)
        return demanded

    def _demands(self, node: ir.Node, position: int, wide: Format, demanded: set[ir.Value]) -> bool:
        row, draft = self.rows[node], self.drafts[node]
        if position in row.fp32_operands:
            return True
        if not self._is_open_movement(node):
            return draft.operands is not None and draft.operands.width >= wide.width
        results = self.wiring.results[node]
        return not results or any(value in demanded for value in results)

    def _moves(self, node: ir.Node, wide: Format, demanded: set[ir.Value]) -> bool:
        operands, results = self.wiring.operands[node], self.wiring.results[node]
        if not self.evidence.admits(node, wide):
            return False
        if not operands or node in self.wiring.constant:
            return self._results_read(node, wide)
        arrives = any(self._format(value) is wide for value in operands)
        return arrives and (not results or any(value in demanded for value in results))

    def _around(self, node: ir.Node) -> Format | None:
        """The wide format that everything varying that `node` reads is stored in; fp32 where it reads nothing so."""
        formats = {self._source(value) for value in self.wiring.operands[node]} - {None}
        if formats <= {Format.FP32}:
            return Format.FP32
        between = formats <= {Format.BF16} and Format.BF16 in self.wides and self.evidence.admits(node, Format.BF16)
        return Format.BF16 if between else None

    def _source(self, value: ir.Value) -> Format | None:
        """Format of `value` before data movement that is still open; None for a weight, and what integers give."""
        node = value.producer()
        if node is None or node not in self.rows or not (self._is_open_movement(node) or node in self.wiring.constant):
            made_of_integers = node in self.rows and node.op_type == "Cast" and self.drafts[node].operands is None
            return None if made_of_integers else self._format(value)
        found = {self._source(operand) for operand in self.wiring.operands[node]} - {None}
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

    def _results_read(self, node: ir.Node, wide: Format) -> bool:
        return all(self._all_read(value, wide) for value in self.wiring.results[node])

    def _all_read(self, value: ir.Value, wide: Format) -> bool:
        """Whether all that reads `value`, through data movement that is still open, reads a format or a wider one."""
        return all(self._reads(node, position, wide) for node, position in self.wiring.readers[value])

    def _reads(self, node: ir.Node, position: int, wide: Format) -> bool:
        row = self.rows.get(node)
        if row is None or position in row.fp32_operands or row.movement is Movement.INTEGER:
            return True
        if self._is_open_movement(node):
            return self._results_read(node, wide)
        operands = self.drafts[node].operands
        return operands is not None and operands.width >= wide.width

    def _is_open_movement(self, node: ir.Node) -> bool:
        draft = self.drafts[node]
        return self.rows[node].movement is Movement.EXACT and not draft.claimed and not draft.pinned


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
