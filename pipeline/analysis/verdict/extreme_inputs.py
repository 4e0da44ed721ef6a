"""Inputs at the edge of what the spec admits: what samples of a data set hardly ever are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from pipeline.analysis import batches
from pipeline.analysis.batches import Arrays
from pipeline.core.spec import AxisRange, InputSpec

CARRIERS = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""What may stand between an input and the table that it looks up."""

SHORT = 64
"""Elements along a dynamic axis where its length is not what is tried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One extreme.

    Attributes:
        name: What is extreme about it.
        feeds: One array an input.
        note: What was left out, or None.
    """

    name: str
    feeds: Arrays
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordinary:
    """What extremes are made from.

    Attributes:
        feeds: One sample, with nothing masked.
        fills: By input, what stands where a mask hides it.
        edges: By float input, the smallest and largest value: the spec's, else those of the samples.
        budget: Elements along the dynamic axes in all samples together: what a run may cost.
    """

    feeds: Arrays
    fills: Mapping[str, float]
    edges: Mapping[str, tuple[float, float]]
    budget: int


def cases(
    graph: ir.Graph, inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange], files: Sequence[Path]
) -> Iterator[Case]:
    """Extremes that these inputs can have: sizes, masks, embeddings, and values of float inputs.

    Args:
        graph: The fp32 graph, whose embedding tables are looked at.
        inputs: Its inputs.
        axes: Sizes of every dynamic axis.
        files: Batches, from which ordinary values are taken.
    """
    ordinary = _ordinary(inputs, files)
    yield from _sizes(ordinary, inputs, axes)
    short = _shortened(ordinary, inputs, axes)
    yield from _masked(short, inputs)
    yield from _embeddings(graph, short, inputs)
    yield from _constant(short, inputs)


def _shortened(ordinary: Ordinary, inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange]) -> Ordinary:
    """At most `SHORT` elements along each dynamic axis, where length is not what is tried."""
    batch = batch_axis(inputs)
    sizes = {
        name: max(axes[name].min, min(SHORT, size))
        for name, size in _lengths(ordinary.feeds, inputs).items()
        if name != batch and name in axes
    }
    return replace(ordinary, feeds=_resized(ordinary.feeds, inputs, sizes))


def _lengths(sample: Arrays, inputs: Mapping[str, InputSpec]) -> dict[str, int]:
    """Size of each dynamic axis in a sample."""
    return {
        axis: sample[name].shape[position]
        for name, spec in inputs.items()
        for position, axis in enumerate(spec.axes)
        if isinstance(axis, str)
    }


def _sizes(ordinary: Ordinary, inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange]) -> Iterator[Case]:
    """Every axis but the batch's at its largest, as far as that is quick, and at its smallest."""
    free = {name: sizes for name, sizes in axes.items() if name != batch_axis(inputs)}
    if not free:
        return
    full = math.prod(sizes.max for sizes in free.values())
    share = min(1.0, max(ordinary.budget, math.prod(sizes.opt for sizes in free.values())) / full)
    scaled = {name: max(sizes.min, int(sizes.max * share ** (1 / len(free)))) for name, sizes in free.items()}
    cut = [f"{name} {scaled[name]} of {sizes.max}" for name, sizes in free.items() if scaled[name] < sizes.max]
    note = f"capped at {', '.join(cut)} to keep it quick" if cut else None
    yield Case(name="largest sizes", feeds=_resized(ordinary.feeds, inputs, scaled), note=note)
    smallest = {name: sizes.min for name, sizes in free.items()}
    yield Case(name="smallest sizes", feeds=_resized(ordinary.feeds, inputs, smallest))


def _masked(ordinary: Ordinary, inputs: Mapping[str, InputSpec]) -> Iterator[Case]:
    """Nothing that a mask lets through: with ordinary values behind it, and with padding."""
    masks = [name for name, spec in inputs.items() if spec.masks]
    if not masks:
        return
    hidden = {name: np.zeros_like(ordinary.feeds[name]) for name in masks}
    yield Case(name="everything masked", feeds={**ordinary.feeds, **hidden})
    padding = {
        name: np.full_like(array, ordinary.fills[name])
        for name, array in ordinary.feeds.items()
        if name in ordinary.fills
    }
    if padding:
        yield Case(name="padding only", feeds={**ordinary.feeds, **padding, **hidden})


def _embeddings(graph: ir.Graph, ordinary: Ordinary, inputs: Mapping[str, InputSpec]) -> Iterator[Case]:
    """Ids of the rows with the largest elements, the largest first."""
    found = {}
    for value in graph.inputs:
        name = str(value.name)
        table = _table(value) if name in inputs and not inputs[name].masks else None
        if table is not None and name in ordinary.feeds:
            count = ordinary.feeds[name].size
            rows = np.maximum(table.max(axis=1), -table.min(axis=1))
            largest = np.argsort(-rows, kind="stable")[:count]
            found[name] = np.resize(largest, ordinary.feeds[name].shape).astype(ordinary.feeds[name].dtype)
    if found:
        yield Case(name="largest embeddings", feeds={**ordinary.feeds, **found})


def _constant(ordinary: Ordinary, inputs: Mapping[str, InputSpec]) -> Iterator[Case]:
    """Float inputs that hold one extreme value everywhere, and both by turns."""
    if not ordinary.edges:
        return
    said = all(inputs[name].range is not None for name in ordinary.edges)
    note = None if said else "inputs.*.range is not in the spec: the range of the samples"
    for side, word in enumerate(("lowest", "highest")):
        filled = {n: np.full_like(ordinary.feeds[n], edges[side]) for n, edges in ordinary.edges.items()}
        yield Case(name=f"{word} values", feeds={**ordinary.feeds, **filled}, note=note)
    turns = {n: _by_turns(ordinary.feeds[n], edges) for n, edges in ordinary.edges.items()}
    yield Case(name="lowest and highest by turns", feeds={**ordinary.feeds, **turns}, note=note)


def _by_turns(array: np.ndarray, edges: tuple[float, float]) -> np.ndarray:
    return np.resize(np.array(edges, array.dtype), array.shape)


def _ordinary(inputs: Mapping[str, InputSpec], files: Sequence[Path]) -> Ordinary:
    every = [batches.read(file, list(inputs)) for file in files]
    axis = batch_axis(inputs)
    feeds = _without_padding(_one(every[0], inputs, axis), inputs)
    edges = {
        name: spec.range or _seen(every, name, inputs)
        for name, spec in inputs.items()
        if spec.dtype == "float32" and not spec.masks
    }
    widest = max(inputs.values(), key=lambda spec: sum(isinstance(item, str) for item in spec.axes))
    name = next(name for name, spec in inputs.items() if spec is widest)
    dynamic = [position for position, item in enumerate(widest.axes) if isinstance(item, str)]
    budget = sum(math.prod(batch[name].shape[position] for position in dynamic) for batch in every)
    return Ordinary(feeds=feeds, fills=_fills(every, inputs), edges=edges, budget=budget)


def batch_axis(inputs: Mapping[str, InputSpec]) -> str | None:
    """The axis along which samples stand beside one another: the first of the first input that has a dynamic one."""
    return next((item for spec in inputs.values() for item in spec.axes if isinstance(item, str)), None)


def _one(batch: Arrays, inputs: Mapping[str, InputSpec], axis: str | None) -> Arrays:
    """The sample of a batch that has the least padding."""
    masks = [name for name, spec in inputs.items() if spec.masks and spec.axes[:1] == (axis,)]
    row = int(np.argmax(batch[masks[0]].reshape(len(batch[masks[0]]), -1).sum(axis=1))) if masks else 0
    return {
        name: np.take(array, [row], axis=inputs[name].axes.index(axis)) if axis in inputs[name].axes else array
        for name, array in batch.items()
    }


def _without_padding(sample: Arrays, inputs: Mapping[str, InputSpec]) -> Arrays:
    for name, spec in inputs.items():
        for axis in spec.masks:
            position = spec.axes.index(axis)
            others = tuple(index for index in range(sample[name].ndim) if index != position)
            kept = np.flatnonzero(sample[name].astype(bool).any(axis=others))
            if kept.size:
                sample = _taken(sample, inputs, axis, kept)
    return {name: np.ones_like(array) if inputs[name].masks else array for name, array in sample.items()}


def _taken(sample: Arrays, inputs: Mapping[str, InputSpec], axis: str, kept: np.ndarray) -> Arrays:
    return {
        name: np.take(array, kept, axis=inputs[name].axes.index(axis)) if axis in inputs[name].axes else array
        for name, array in sample.items()
    }


def _resized(sample: Arrays, inputs: Mapping[str, InputSpec], sizes: Mapping[str, int]) -> Arrays:
    """The sample repeated, or cut, along its dynamic axes."""
    for axis, size in sizes.items():
        sample = _taken(sample, inputs, axis, np.arange(size) % _lengths(sample, inputs)[axis])
    return sample


def _fills(every: Sequence[Arrays], inputs: Mapping[str, InputSpec]) -> dict[str, float]:
    """What stands in integer inputs where a mask of the same shape hides it; 0 where no sample is padded."""
    found: dict[str, float] = {}
    for name, spec in inputs.items():
        mask = _mask_of(name, inputs)
        if mask is None or spec.dtype == "float32":
            continue
        hidden = [batch[name][~batch[mask].astype(bool)] for batch in every]
        found[name] = next((float(values[0]) for values in hidden if values.size), 0.0)
    return found


def _seen(every: Sequence[Arrays], name: str, inputs: Mapping[str, InputSpec]) -> tuple[float, float]:
    """Smallest and largest value of an input where nothing hides it."""
    mask = _mask_of(name, inputs)
    kept = [batch[name] if mask is None else batch[name][batch[mask].astype(bool)] for batch in every]
    present = [array for array in kept if array.size]
    return min(float(array.min()) for array in present), max(float(array.max()) for array in present)


def _mask_of(name: str, inputs: Mapping[str, InputSpec]) -> str | None:
    """The mask that hides elements of an input one by one; None for a mask itself."""
    if inputs[name].masks:
        return None
    return next((other for other, spec in inputs.items() if spec.masks and spec.axes == inputs[name].axes), None)


def _table(value: ir.Value) -> np.ndarray | None:
    """The table whose rows an input names, if it does."""
    for node, position in value.uses():
        if node.op_type == "Gather" and position == 1 and node.inputs[0] is not None:
            tensor = node.inputs[0].const_value if node.inputs[0].is_initializer() else None
            if tensor is not None and len(tensor.shape) == 2 and node.attributes.get_int("axis", 0) == 0:
                return tensor.numpy()
        elif node.op_type in CARRIERS and position == 0 and (table := _table(node.outputs[0])) is not None:
            return table
    return None


def named(case: Case, inputs: Mapping[str, InputSpec]) -> str:
    """The shapes of a case in words, dynamic inputs only."""
    shown = [f"{name} {' x '.join(map(str, array.shape))}" for name, array in case.feeds.items() if name in inputs]
    return ", ".join(shown)
