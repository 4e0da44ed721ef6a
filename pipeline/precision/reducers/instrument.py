"""The one in-graph reducer: tensors go in, a few scalars a tensor come out.

Each tap is reduced right after the last of its tensors is produced, by a template stamped there, so that a session that
keeps the graph's order frees the tensors before it goes on: memory does not grow with the number of taps.

ONNX Runtime's ReduceMax and ReduceMin skip NaN, so every template carries a sum, which does not: a NaN anywhere makes
it NaN. Only where it is not finite does a caller run the template that counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.precision import template

PREFIX = "tap::"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reducer:
    """A template and what it is bound to.

    Attributes:
        body: The template; its inputs are the tensors of a tap, then the constants.
        constants: By the names of the template's last inputs, in order.
        outputs: Element types of the template's outputs: scalars, or vectors of any length.
    """

    body: str
    constants: Mapping[str, npt.NDArray[Any]]
    outputs: tuple[ir.DataType, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """Tensors that are reduced together.

    Attributes:
        key: Name under which the results are found.
        values: Values of the graph, fp32.
    """

    key: str
    values: tuple[ir.Value, ...]


def attach(model: ir.Model, reducer: Reducer, taps: Iterable[Tap], *, beside: bool = False) -> None:
    """Reduce `taps` in `model`, which is changed, and make the results its only outputs.

    Args:
        model: The model.
        reducer: What to reduce with.
        taps: What to reduce.
        beside: Keep the outputs that the model has: those of another reducer.
    """
    graph = model.graph
    function = template.parse(reducer.body)
    constants = [_constant(graph, name, array) for name, array in reducer.constants.items()]
    position = {node: index for index, node in enumerate(graph)}
    first = graph.node(0) if len(graph) else None
    outputs: list[ir.Value] = []
    for tap in taps:
        nodes, results = template.stamp(function, [*tap.values, *constants], f"{PREFIX}{tap.key}::")
        _insert(graph, nodes, tap.values, position, first)
        for result, dtype in zip(results, reducer.outputs, strict=True):
            result.dtype = dtype
        outputs += results
    if not beside:
        graph.outputs.clear()
    graph.outputs.extend(outputs)


def results(reducer: Reducer, keys: Sequence[str], arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, list[Any]]:
    """What the template's outputs held in one run, by tap."""
    names = [output.name for output in template.parse(reducer.body).outputs]
    return {key: [arrays[f"{PREFIX}{key}::{name}"] for name in names] for key in keys}


def as_float(model: ir.Model, value: ir.Value) -> ir.Value:
    """`value` in fp32: itself, or behind a Cast that is added after its producer (fp16 and bf16 widen exactly)."""
    if value.dtype is ir.DataType.FLOAT:
        return value
    cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT.value}, name=f"{PREFIX}widen::{value.name}")
    wide = cast.outputs[0]
    wide.name, wide.dtype, wide.shape = f"{PREFIX}wide::{value.name}", ir.DataType.FLOAT, value.shape
    insert_after(model.graph, value, (cast,))
    return wide


def as_rows(model: ir.Model, value: ir.Value) -> ir.Value:
    """`value` with a last axis: itself, or, where it is a scalar or its rank is not known, all of it as one row."""
    if value.shape is not None and len(value.shape) > 0:
        return value
    return reshaped(model, value, _constant(model.graph, "everything", np.array([-1])), str(value.name))


def reshaped(model: ir.Model, value: ir.Value, shape: ir.Value, name: str) -> ir.Value:
    """`value` behind a Reshape that is added after its producer; `name` is one that no other has."""
    reshape = ir.node("Reshape", [value, shape], name=f"{PREFIX}reshape::{name}")
    rows = reshape.outputs[0]
    rows.name, rows.type = f"{PREFIX}reshaped::{name}", value.type
    insert_after(model.graph, value, (reshape,))
    return rows


def axes_of_samples(model: ir.Model, rank: int) -> ir.Value:
    """Axes 1 to `rank` - 1 as an operand of a reduction; none for rank 0, which stands for all."""
    return _constant(model.graph, f"axes of {rank}", np.arange(1, rank, dtype=np.int64))


def insert_after(graph: ir.Graph, value: ir.Value, nodes: Sequence[ir.Node]) -> None:
    """Insert `nodes` right after what makes `value`, or first where nothing does."""
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, nodes)
    elif len(graph):
        graph.insert_before(graph.node(0), nodes)
    else:
        graph.extend(nodes)


def _insert(
    graph: ir.Graph,
    nodes: list[ir.Node],
    values: Sequence[ir.Value],
    position: Mapping[ir.Node, int],
    first: ir.Node | None,
) -> None:
    producers = [node for node in (value.producer() for value in values) if node is not None]
    if producers:
        graph.insert_after(max(producers, key=lambda node: position[node]), nodes)
    elif first is not None:
        graph.insert_before(first, nodes)
    else:
        graph.extend(nodes)


def _constant(graph: ir.Graph, name: str, array: npt.NDArray[Any]) -> ir.Value:
    full = f"{PREFIX}{name}"
    if full not in graph.initializers:
        graph.register_initializer(ir.val(full, const_value=ir.tensor(np.asarray(array), name=full)))
    return graph.initializers[full]
