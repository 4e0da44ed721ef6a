"""Ranges of every float tensor of a model over a calibration set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx_ir as ir

from pipeline.analysis import batches
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import TensorRange
from pipeline.core.formats import Format
from pipeline.core.progress import Progress
from pipeline.graph import io
from pipeline.graph.typed import FLOATS
from pipeline.precision.reducers import ranges
from pipeline.precision.reducers.instrument import Reducer, Tap, as_float, as_rows, attach, results

PERMUTATIONS = frozenset(
    ["DepthToSpace", "Dropout", "Flatten", "Identity", "Reshape", "SpaceToDepth", "Squeeze", "Transpose", "Unsqueeze"]
)
"""Operators whose first result holds exactly the elements of their first operand."""


def observe(
    model: Path, files: Sequence[Path], low: Format, progress: Progress
) -> tuple[dict[str, TensorRange], dict[str, str]]:
    """Run every batch and reduce every float tensor of the main graph, weights excepted.

    Args:
        model: The fp32 model.
        files: Batches.
        low: The format whose losses are counted.
        progress: Told of each batch.

    Returns:
        Ranges by tensor name, and the tensors without one, each with the reason.
    """
    graph = io.load(model).graph
    owners = _owners(graph)
    tapped = sorted(set(owners.values()))
    seen, special = _first_look(model, tapped, files, low, progress)
    if special:
        seen |= _second_look(model, special, files, low, progress)
    found = {name: seen[owner].range() for name, owner in owners.items()}
    reasons = {name: reason for name, reason in found.items() if isinstance(reason, str)}
    observed = {name: value for name, value in found.items() if isinstance(value, TensorRange)}
    return observed, reasons | _unobserved(graph)


def _first_look(
    model: Path, keys: Sequence[str], files: Sequence[Path], low: Format, progress: Progress
) -> tuple[dict[str, ranges.Seen], list[str]]:
    reducer = ranges.quick(low)
    session, inputs = _session(model, reducer, keys)
    seen = dict.fromkeys(keys, ranges.Seen())
    special: dict[str, None] = {}
    for done, file in enumerate(files, start=1):
        found = results(reducer, keys, session(batches.read(file, inputs)))
        for key, outputs in found.items():
            part = ranges.read_quick(low, outputs)
            if part is None:
                special[key] = None
            else:
                seen[key] = seen[key].merge(part)
        progress.advance("calibration batches", done, len(files))
    return seen, list(special)


def _second_look(
    model: Path, keys: Sequence[str], files: Sequence[Path], low: Format, progress: Progress
) -> dict[str, ranges.Seen]:
    """The few tensors that hold NaN or infinities, again, with the reducer that counts them."""
    reducer = ranges.full(low)
    session, inputs = _session(model, reducer, keys)
    seen = dict.fromkeys(keys, ranges.Seen())
    for done, file in enumerate(files, start=1):
        found = results(reducer, keys, session(batches.read(file, inputs)))
        seen |= {key: seen[key].merge(ranges.read_full(outputs)) for key, outputs in found.items()}
        progress.advance("calibration batches with non-finite values", done, len(files))
    return seen


def _session(path: Path, reducer: Reducer, keys: Sequence[str]) -> tuple[Session, tuple[str, ...]]:
    model = io.load(path)
    values = _values(model.graph)
    attach(model, reducer, [Tap(key=key, values=(as_rows(model, as_float(model, values[key])),)) for key in keys])
    session = Session(model, as_written=True)
    return session, session.inputs


def _values(graph: ir.Graph) -> Mapping[str, ir.Value]:
    produced = [output for node in graph for output in node.outputs]
    return {str(value.name): value for value in (*graph.inputs, *produced) if value.name}


def _owners(graph: ir.Graph) -> dict[str, str]:
    """For each float tensor, the tensor whose range it has: itself, or what it permutes the elements of."""
    owners = {str(value.name): str(value.name) for value in graph.inputs if value.dtype in FLOATS}
    for node in graph:
        for index, value in enumerate(node.outputs):
            if value.name and value.dtype in FLOATS:
                source = node.inputs[0] if index == 0 and node.op_type in PERMUTATIONS else None
                name = str(value.name)
                owners[name] = owners.get(str(source.name), name) if source is not None else name
    return owners


def _unobserved(graph: ir.Graph) -> dict[str, str]:
    reasons = {
        str(value.name): "its values are float64, which TensorRT does not compute in"
        for node in graph
        for value in node.outputs
        if value.name and value.dtype is ir.DataType.DOUBLE
    }
    for node in graph:
        for attribute in node.attributes.values():
            if attribute.type is ir.AttributeType.GRAPH:
                inside = ir.traversal.RecursiveGraphIterator(attribute.as_graph())
                reasons |= {
                    str(value.name): f"inside a subgraph of node {node.name}"
                    for inner in inside
                    for value in inner.outputs
                    if value.name and value.dtype in FLOATS
                }
    return reasons
