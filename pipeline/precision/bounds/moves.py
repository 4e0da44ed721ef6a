"""Data movement: results are operands, elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.precision.bounds.bound import ANYTHING, Ball, Bound, Vector, interval, union
from pipeline.precision.bounds.site import Site

ZERO = interval(0.0, 0.0, norm=0.0, column=0.0, total=0.0)


def same(site: Site) -> Bound:
    """Identity, and the like."""
    return site.operand(0)


def reshaped(site: Site) -> Bound:
    """The same elements in the same order: where the last axis keeps its size, rows stay rows."""
    data, before, after = site.operand(0), site.fixed(), site.fixed_result
    if before is None or after is None or after < 1 or before < 1:
        return data.hull()
    if before == after:
        return replace(data, column=np.inf)
    if before % after == 0 and after > 1:
        return _split(data, before, after)
    if after % before == 0 and data.low.size > 1:
        return Bound(low=np.tile(data.low, after // before), high=np.tile(data.high, after // before))
    return data.hull()


def _split(data: Bound, before: int, after: int) -> Bound:
    """Rows cut into equal pieces."""
    if data.low.size == 1:
        return replace(data.hull(), norm=data.row_norm(before), total=data.total)
    low, high = (end.reshape(-1, after) for end in (data.low, data.high))
    norms = np.sqrt(np.square(np.maximum(np.abs(low), np.abs(high))).sum(axis=1))
    return Bound(low=low.min(axis=0), high=high.max(axis=0), norm=min(data.norm, float(norms.max())), total=data.total)


def transposed(site: Site) -> Bound:
    """Rows stay rows where the last axis stays; where it becomes the one before, their norms are those of columns."""
    data, found = site.operand(0), site.sizes(0)
    if found is None:
        return data.hull()
    order = [int(axis) for axis in site.node.attributes.get_ints("perm", tuple(reversed(range(len(found)))))]
    last = len(order) - 1
    if last < 0 or order[-1] == last:
        return replace(data, column=data.column if last > 0 and order[-2] == last - 1 else np.inf)
    norm = data.row_norm(found[-1]) if order[-2] == last else np.inf
    back = data.column if order[-1] == last - 1 else np.inf
    return replace(data.hull(), column=norm, norm=back)


def gathered(site: Site) -> Bound:
    """Rows of a table by position, or elements of anything."""
    axis, data = site.axis(default=0), site.operand(0)
    if axis is None or axis == -1:
        return data.hull()
    indices = site.sizes(1)
    if indices is None:
        return data.hull()
    return replace(data, column=np.inf)


def split(site: Site) -> list[Bound]:
    """Pieces: of the last axis, those of its positions."""
    data, count = site.operand(0), len(site.node.outputs)
    axis, parts = site.axis(default=0), site.numbers(1, "split")
    if axis not in (None, -1):
        return [replace(data, column=np.inf)] * count
    if axis is None or data.low.size == 1 or parts is None or len(parts) != count:
        return [data.hull()] * count
    ends = np.cumsum(parts)
    return [_piece(data, int(end - size), int(end)) for size, end in zip(parts, ends, strict=True)]


def _piece(data: Bound, start: int, stop: int) -> Bound:
    low, high = data.low[start:stop], data.high[start:stop]
    if low.size != stop - start or not low.size:
        return data.hull()
    ball = data.ball
    if ball is not None:
        ball = Ball(
            centre=_cut(ball.centre, start, stop),
            scale=_cut(ball.scale, start, stop),
            radius=ball.radius,
            error=ball.error,
        )
    return Bound(low=low, high=high, norm=data.norm, total=data.total, ball=ball)


def _cut(row: Vector, start: int, stop: int) -> Vector:
    return row if row.size == 1 else row[start:stop]


def sliced(site: Site) -> Bound:
    """Some of the elements; rows whole where the last axis is not cut."""
    data, found = site.operand(0), site.sizes(0)
    axes = site.numbers(3)
    if axes is None or found is None or any(axis in (-1, len(found) - 1) for axis in axes):
        return data.hull()
    return replace(data, column=np.inf)


def concatenated(site: Site) -> Bound:
    """Several tensors after one another."""
    operands = site.operands()
    if site.axis(default=0) != -1:
        return union(operands)
    sizes = [site.fixed(position) for position in range(len(site.node.inputs))]
    if all(operand.low.size == 1 for operand in operands) or any(size is None for size in sizes):
        return union([operand.hull() for operand in operands])
    spread = [
        (np.broadcast_to(operand.low, size or 1), np.broadcast_to(operand.high, size or 1))
        for operand, size in zip(operands, sizes, strict=True)
    ]
    return Bound(low=np.concatenate([low for low, _ in spread]), high=np.concatenate([high for _, high in spread]))


def chosen(site: Site) -> Bound:
    """Where: elements of either branch."""
    return union([site.operand(1), site.operand(2)])


def expanded(site: Site) -> Bound:
    """Repeated along axes of size 1, the last perhaps among them."""
    data, size = site.operand(0), site.fixed()
    keeps = size is not None and size > 1 and size == site.fixed_result
    return replace(data, column=np.inf) if keeps else data.hull()


def padded(site: Site) -> Bound:
    """The elements, and what is put around them."""
    fill = site.operand(2) if site.value(2) is not None else ZERO
    return union([site.operand(0).hull(), fill.hull()])


def hull(site: Site) -> Bound:
    """Any of the operand's elements, somewhere."""
    return site.operand(0).hull()


def hull_with_zero(site: Site) -> Bound:
    """Likewise, or zero."""
    return union([site.operand(0).hull(), ZERO])


def scattered(site: Site) -> Bound:
    """Elements of the data or of the updates."""
    if site.node.attributes.get_string("reduction", "none") != "none":
        return ANYTHING
    return union([site.operand(0).hull(), site.operand(2).hull()])
