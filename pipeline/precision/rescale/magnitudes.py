"""The largest magnitude of each channel of a tensor, reduced in the graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir

from pipeline.core.errors import GraphError
from pipeline.precision.reducers.instrument import Reducer, Tap, attach, results
from pipeline.precision.rescale.options import Channel

BODY = """
Channels (x, {axes}) => (largest) {{
    size = Abs(x)
    largest = ReduceMax <keepdims = 0> (size, {axes})
}}
"""


def tap(model: ir.Model, channels: Iterable[Channel]) -> dict[Channel, tuple[Reducer, str]]:
    """Make the magnitudes of `channels` the only outputs of `model`, which is changed.

    Returns:
        For each, the reducer and the key under which `read` finds it.

    Raises:
        GraphError: The rank of a tensor is not known.
    """
    values = {str(value.name): value for node in model.graph for value in node.outputs}
    values |= {str(value.name): value for value in model.graph.inputs}
    groups: dict[tuple[int, int], list[Channel]] = {}
    for name, axis in sorted(set(channels)):
        shape = values[name].shape
        if shape is None:
            raise GraphError("the rank of a tensor is not known", where=f"tensor {name}")
        groups.setdefault((len(shape), axis), []).append((name, axis))
    model.graph.outputs.clear()
    found: dict[Channel, tuple[Reducer, str]] = {}
    for (rank, axis), members in groups.items():
        reducer = by_channel(BODY, (ir.DataType.FLOAT,), rank, axis)
        keys = {member: f"{member[0]}::{axis}" for member in members}
        taps = [Tap(key=key, values=(values[name],)) for (name, _), key in keys.items()]
        attach(model, reducer, taps, beside=True)
        found |= {member: (reducer, key) for member, key in keys.items()}
    return found


def read(taps: dict[Channel, tuple[Reducer, str]], arrays: dict[str, Any]) -> dict[Channel, np.ndarray[Any, Any]]:
    """The magnitudes that one run found; float64[channels]."""
    return {
        channel: np.asarray(results(reducer, [key], arrays)[key][0], np.float64)
        for channel, (reducer, key) in taps.items()
    }


def by_channel(body: str, outputs: tuple[ir.DataType, ...], rank: int, axis: int) -> Reducer:
    """A reducer of tensors of one rank that leaves one axis, counted from the end.

    Args:
        body: A template with `{axes}` for its last input and wherever it reduces.
        outputs: Element types of its outputs.
        rank: Rank of the tensors.
        axis: The axis that stays.
    """
    name = f"others_{rank}_{-axis}"
    others = np.array([position for position in range(rank) if position != axis + rank], np.int64)
    return Reducer(body=body.format(axes=name), constants={name: others}, outputs=outputs)
