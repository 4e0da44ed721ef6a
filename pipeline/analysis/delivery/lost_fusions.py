"""Which fused kernels of the all-low plan a mixed plan lost, which decision lost each, and what that costs.

Kernels are compared by the nodes that compute in them; Casts and data movement follow their neighbours. Kernels of the
two plans that share such nodes form a group. Where a kernel of the all-low plan is in several kernels of the mixed one,
the group is reported, with how many kernels it has more than before (none where the nodes are only grouped otherwise)
and how many bytes more cross between them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.core.artifacts import Decision, LostFusion, PlanText, PrecisionPlan
from pipeline.core.formats import Format
from pipeline.graph.typed import FLOATS
from pipeline.precision import semantics
from pipeline.precision.costing import work
from pipeline.precision.semantics import WEIGHTED, Movement

_UNFUSED = "function"
"""Kind of a kernel that names a product also where it only pads or moves what the product reads."""

Kernels = Mapping[str, int]
"""Kernel of each node that computes."""


@dataclass(frozen=True, slots=True)
class _Tensor:
    """What one node hands to those that compute on it.

    Attributes:
        source: The node that computes it; None for what is only looked up or moved.
        sinks: Nodes that read it, through Casts and data movement.
        elements: How many.
    """

    source: str | None
    sinks: tuple[str, ...]
    elements: int

    def leaves(self, homes: Kernels) -> set[int]:
        """Kernels that read it from memory."""
        readers = {homes[sink] for sink in self.sinks}
        return readers if self.source is None else readers - {homes[self.source]}

    def passes(self, homes: Kernels) -> int:
        """How often it is written or read."""
        readers = len(self.leaves(homes))
        return readers + (readers > (self.source is None))


@dataclass(frozen=True, slots=True)
class _Group:
    """Nodes of kernels of both plans that share nodes."""

    nodes: tuple[str, ...]
    before: frozenset[int]
    now: frozenset[int]


def find(
    mixed: ir.Model, plan: PrecisionPlan, text: PlanText, all_low: PlanText, sizes: Mapping[str, int]
) -> tuple[LostFusion, ...]:
    """Fused kernels of the all-low plan that are no longer whole, in graph order of their first nodes.

    Args:
        mixed: The graph that was built.
        plan: Its decisions.
        text: Its plan.
        all_low: The plan of the same graph with every node in the low format.
        sizes: Size of each dynamic axis by name, for the bytes.
    """
    computing = {str(node.name): node for node in mixed.graph if _computes(node)}
    planned = [item.node for item in plan.decisions if item.node in computing]
    before, now = _homes(all_low, computing), _homes(text, computing)
    tensors = _tensors(mixed.graph, computing, work.shapes(mixed, sizes))
    decisions = {item.node: item for item in plan.decisions}
    found = []
    for group in _groups([node for node in planned if node in before and node in now], before, now):
        broken = {kernel for kernel in group.before if len({now[n] for n in group.nodes if before[n] == kernel}) > 1}
        if broken:
            inside = _inside(tensors, group)
            cut = [tensor for tensor in inside if tensor.passes(now) > tensor.passes(before)]
            blamed = _blamed(cut, group, now, decisions, plan.low)
            found.append(
                LostFusion(
                    kernels=tuple(all_low.kernels[kernel].name for kernel in sorted(broken)),
                    nodes=tuple(node for node in group.nodes if before[node] in broken),
                    now=tuple(text.kernels[kernel].name for kernel in sorted(group.now)),
                    more_kernels=len(group.now) - len(group.before),
                    more_bytes=_moved(inside, now, decisions, plan.low) - _moved(inside, before, {}, plan.low),
                    decision=None if blamed is None else blamed.node,
                    rule=None if blamed is None else blamed.rule,
                    reason=_UNDECIDED if blamed is None else blamed.reason,
                )
            )
    return tuple(found)


def split(lost: Sequence[LostFusion]) -> list[str]:
    """One line for each loss that costs kernels, and one for those where nodes are only grouped otherwise."""
    lines = [
        f"{', '.join(item.kernels)}: {item.more_kernels} kernels more, {item.more_bytes / 1e6:.2f} MB more between "
        f"them, because of {item.decision or 'TensorRT'}: {item.reason}"
        for item in lost
        if item.more_kernels > 0
    ]
    others = sum(len(item.kernels) for item in lost if item.more_kernels <= 0)
    if others:
        lines.append(f"{others} fused kernels of the all-low plan are grouped otherwise here, at no kernel more")
    return lines


_UNDECIDED = "every node here is decided as in the all-low plan: TensorRT grouped them otherwise by itself"


def _computes(node: ir.Node) -> bool:
    row = semantics.TABLE.get(node.op_type)
    return row is not None and node.op_type != "Cast" and row.movement not in (Movement.EXACT, Movement.INTEGER)


def _homes(text: PlanText, computing: Mapping[str, ir.Node]) -> dict[str, int]:
    """The kernel that computes each node: for a product the one that multiplies, else the first that names it."""
    homes: dict[str, int] = {}
    for position, kernel in enumerate(text.kernels):
        for node in kernel.nodes:
            if node not in computing:
                continue
            moved = node in homes and text.kernels[homes[node]].kind == _UNFUSED and kernel.kind != _UNFUSED
            if node not in homes or (moved and computing[node].op_type in WEIGHTED):
                homes[node] = position
    return homes


def _groups(nodes: Sequence[str], before: Kernels, now: Kernels) -> Iterator[_Group]:
    """Nodes whose kernels share nodes, before or now, in order of their first nodes."""
    members: dict[tuple[str, int], list[str]] = defaultdict(list)
    for node in nodes:
        members["before", before[node]].append(node)
        members["now", now[node]].append(node)
    seen: set[str] = set()
    for node in nodes:
        if node in seen:
            continue
        pending, group = [node], {node}
        while pending:
            name = pending.pop()
            for other in (*members["before", before[name]], *members["now", now[name]]):
                if other not in group:
                    group.add(other)
                    pending.append(other)
        seen |= group
        yield _Group(
            tuple(item for item in nodes if item in group),
            frozenset(before[item] for item in group),
            frozenset(now[item] for item in group),
        )


def _tensors(graph: ir.Graph, computing: Mapping[str, ir.Node], shapes: Mapping[ir.Value, work.Shape]) -> list[_Tensor]:
    """Float tensors that computing nodes read; what only moves a computed tensor is that tensor."""
    found, moved = [], set[ir.Value]()
    for node in graph:
        for value in node.outputs:
            source = str(node.name) if str(node.name) in computing else None
            if source is not None or any(operand in moved for operand in node.inputs):
                moved.add(value)
            if value.dtype in FLOATS and (source is not None or value not in moved):
                sinks = tuple(dict.fromkeys(str(reader.name) for reader in _readers(value)))
                found.append(_Tensor(source, sinks, work.elements(shapes.get(value)) or 0))
                moved.add(value)
    return found


def _readers(value: ir.Value) -> Iterator[ir.Node]:
    """Computing nodes that read `value`, through Casts and data movement."""
    for use in value.uses():
        if _computes(use.node):
            yield use.node
        else:
            for moved in use.node.outputs:
                yield from _readers(moved)


def _inside(tensors: Sequence[_Tensor], group: _Group) -> list[_Tensor]:
    """What the nodes of a group hand each other."""
    nodes, found = set(group.nodes), []
    for tensor in tensors:
        sinks = tuple(sink for sink in tensor.sinks if sink in nodes)
        if sinks and (tensor.source is None or tensor.source in nodes):
            found.append(_Tensor(tensor.source, sinks, tensor.elements))
    return found


def _moved(tensors: Sequence[_Tensor], homes: Kernels, decisions: Mapping[str, Decision], otherwise: Format) -> int:
    """Bytes written and read between kernels, each tensor in its decision's format, or else in `otherwise`."""
    total = 0
    for tensor in tensors:
        decision = None if tensor.source is None else decisions.get(tensor.source)
        format_ = otherwise if decision is None or decision.result is None else decision.result
        total += tensor.passes(homes) * tensor.elements * format_.limits.bytes
    return total


def _blamed(
    cut: Sequence[_Tensor], group: _Group, now: Kernels, decisions: Mapping[str, Decision], low: Format
) -> Decision | None:
    """The decision nearest to the largest tensor that now leaves a kernel: of its readers, its maker, their kernels."""
    for tensor in sorted(cut, key=lambda tensor: -tensor.elements):
        near = (*tensor.sinks, *(() if tensor.source is None else (tensor.source,)))
        kernels = {now[node] for node in near}
        for name in (*near, *(node for node in group.nodes if now[node] in kernels)):
            if _is_widened(decisions[name], low):
                return decisions[name]
    return next((decisions[node] for node in group.nodes if _is_widened(decisions[node], low)), None)


def _is_widened(decision: Decision, low: Format) -> bool:
    formats = {decision.operands, decision.accumulator, decision.result} - {None}
    return bool(formats - {low})
