"""Which tensor now stands for a tensor of an earlier model, through any number of rewrites."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_ir as ir

from pipeline.core.artifacts import Fate


def values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Inputs, initializers and node outputs of `graph`, each once; subgraphs are not entered."""
    seen: set[ir.Value] = set()
    for value in (*graph.inputs, *graph.initializers.values(), *(out for node in graph for out in node.outputs)):
        if value.name and value not in seen:
            seen.add(value)
            yield value


def tensor_names(model: ir.Model) -> frozenset[str]:
    """Names of all tensors of the main graph."""
    return frozenset(value.name for value in values(model.graph) if value.name)


def lookup(fates: Iterable[Fate], tensor: str) -> Fate:
    """What became of `tensor`: its fate, or that it kept its name, scale and layout."""
    return next((fate for fate in fates if fate.tensor == tensor), Fate(tensor=tensor, now=tensor))


def compose(tensors: Iterable[str], *rewrites: Iterable[Fate]) -> tuple[Fate, ...]:
    """The fates that successive rewrites have together.

    Args:
        tensors: Names of the tensors of the first model.
        rewrites: Fates of each rewrite, in the order in which they were applied.

    Returns:
        One fate for each of `tensors` that was changed, in their sorted order.

    Raises:
        ValueError: A rewrite tells two fates of one tensor.
    """
    tables = [_table(fates) for fates in rewrites]
    fates = (_follow(tensor, tables) for tensor in sorted(set(tensors)))
    return tuple(fate for fate in fates if fate != Fate(tensor=fate.tensor, now=fate.tensor))


def invert(fates: Iterable[Fate]) -> tuple[Fate, ...]:
    """The fates that lead back, of the tensors that are still there; of several that became one, the first leads."""
    back: dict[str, Fate] = {}
    for fate in fates:
        if fate.now is not None:
            back.setdefault(fate.now, _inverse(fate, fate.now))
    return tuple(back.values())


def _inverse(fate: Fate, now: str) -> Fate:
    layout, axis = fate.layout, fate.axis
    if layout is not None:
        axis = layout[axis] - len(layout) if fate.exponents else axis
        layout = tuple(layout.index(at) for at in range(len(layout)))
    return Fate(
        tensor=now,
        now=fate.tensor,
        exponent=-fate.exponent,
        exponents=tuple(-exponent for exponent in fate.exponents),
        axis=axis,
        layout=layout,
        masked=fate.masked,
        reason=fate.reason,
    )


def unaccounted(before: Iterable[str], fates: Iterable[Fate], after: Iterable[str]) -> tuple[str, ...]:
    """Tensors that neither survive by name nor have a fate, and fates that name a tensor that is not there."""
    now = set(after)
    told = {fate.tensor: fate.now for fate in fates}
    lost = {name for name in before if name not in told and name not in now}
    dangling = {name for name, target in told.items() if target is not None and target not in now}
    return tuple(sorted(lost | dangling))


def _table(fates: Iterable[Fate]) -> dict[str, Fate]:
    table: dict[str, Fate] = {}
    for fate in fates:
        if fate.tensor in table:
            raise ValueError(f"two fates of tensor {fate.tensor}: {table[fate.tensor]} and {fate}")
        table[fate.tensor] = fate
    return table


def _follow(tensor: str, tables: list[dict[str, Fate]]) -> Fate:
    fate = Fate(tensor=tensor, now=tensor)
    for table in tables:
        if fate.now is None:
            return fate
        if fate.now in table:
            fate = _then(fate, table[fate.now])
    return fate


def _then(first: Fate, second: Fate) -> Fate:
    reasons = [reason for reason in (first.reason, second.reason) if reason]
    exponents, axis = _compose_exponents(first, second)
    return Fate(
        tensor=first.tensor,
        now=second.now,
        exponent=first.exponent + second.exponent,
        exponents=exponents,
        axis=axis,
        layout=_compose_layouts(first.layout, second.layout),
        masked=first.masked if second.masked is None else second.masked,
        reason="; ".join(reasons) or None,
    )


def _compose_exponents(first: Fate, second: Fate) -> tuple[tuple[int, ...], int]:
    """Exponents of channels, along their axis of the last tensor.

    Raises:
        ValueError: The two rewrites scaled along different axes.
    """
    before = first.axis
    if first.exponents and second.layout is not None:
        rank = len(second.layout)
        before = second.layout.index(first.axis + rank) - rank
    if not first.exponents:
        return second.exponents, second.axis
    if not second.exponents:
        return first.exponents, before
    if before != second.axis or len(first.exponents) != len(second.exponents):
        raise ValueError(f"tensor {first.tensor} was scaled along axes {before} and {second.axis}")
    return tuple(one + other for one, other in zip(first.exponents, second.exponents, strict=True)), before


def _compose_layouts(first: tuple[int, ...] | None, second: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if first is None or second is None:
        return first if second is None else second
    layout = tuple(first[axis] for axis in second)
    return None if layout == tuple(range(len(layout))) else layout
