"""Refuse a graph that no exporter writes: data outside its folder, sizes that its file does not hold, cycles.

A file that is only read must not make its reader open other files, allocate what it claims, or loop.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import onnx_ir as ir

from pipeline.core.errors import GraphError

LARGEST_CONSTANT = 1 << 28
"""Elements that an operator may make out of constants alone: shape inference and folding make them for real."""

SIZES = 64
"""Elements of the longest tensor that is read as the sizes of another."""


def require_sound(model: ir.Model, path: Path) -> None:
    """Check what every reader of `model`, read from `path`, relies on; reads no weights.

    Raises:
        GraphError: External data lies outside the folder or beyond the end of its file, a tensor has another size than
            its dimensions say, nodes or functions depend on themselves, or an operator would make a huge constant.
    """
    folder = path.parent.resolve()
    for name, tensor in _tensors(model):
        problem = _problem(tensor, folder)
        if problem is not None:
            what, hint = problem
            raise GraphError(f"initializer {name} {what}", where=str(path), hint=hint)
    for graph in model.graphs():
        _require_acyclic({node: _before(node, graph) for node in graph}, "nodes", path)
        for node in graph:
            _require_small(node, path)
    calls = {name: _calls(function, model.functions) for name, function in model.functions.items()}
    _require_acyclic(calls, "functions", path)


def _tensors(model: ir.Model) -> Iterator[tuple[str, ir.TensorProtocol]]:
    """Every stored tensor: initializers, and attributes of nodes, of subgraphs and functions too."""
    bodies: list[ir.Graph | ir.Function] = [*model.graphs(), *model.functions.values()]
    for body in bodies:
        if isinstance(body, ir.Graph):
            for value in body.initializers.values():
                if value.const_value is not None:
                    yield str(value.name), value.const_value
        for node in body:
            for attribute in node.attributes.values():
                if attribute.type is ir.AttributeType.TENSOR and not attribute.is_ref():
                    yield f"in node {node.name or node.op_type}", attribute.as_tensor()
                elif attribute.type is ir.AttributeType.TENSORS and not attribute.is_ref():
                    yield from ((f"in node {node.name or node.op_type}", item) for item in attribute.as_tensors())


def _problem(tensor: ir.TensorProtocol, folder: Path) -> tuple[str, str] | None:
    """What is wrong with a stored tensor, and what to do; None where nothing is."""
    if any(not (isinstance(dim, int) and dim >= 0) for dim in tensor.shape):
        return f"has the dimensions {list(tensor.shape)}", "the file is damaged: take it again from its source"
    if isinstance(tensor, ir.ExternalTensor):
        return _external_problem(tensor, folder)
    if isinstance(tensor, ir.TensorProtoTensor) and tensor.raw.HasField("raw_data"):
        found = len(tensor.raw.raw_data)
        if found != tensor.nbytes:
            return f"has {found} bytes, its dimensions say {tensor.nbytes}", "the file is damaged"
    return None


def _external_problem(tensor: ir.ExternalTensor, folder: Path) -> tuple[str, str] | None:
    data = Path(tensor.path).resolve()
    if not data.is_relative_to(folder):
        return f"lies outside the model's folder ({tensor.location})", "external data must lie beside the ONNX file"
    end = (tensor.offset or 0) + tensor.nbytes
    if data.is_file() and data.stat().st_size < end:
        return (
            f"ends at byte {end} of {tensor.location}, which has {data.stat().st_size}",
            "the file is truncated: take it again from its source",
        )
    return None


def _before(node: ir.Node, graph: ir.Graph) -> list[ir.Node]:
    producers = (value.producer() for value in node.inputs if value is not None)
    return [producer for producer in producers if producer is not None and producer.graph is graph]


def _calls(function: ir.Function, known: Iterable[ir.OperatorIdentifier]) -> list[ir.OperatorIdentifier]:
    names = set(known)
    return [node.op_identifier() for node in function if node.op_identifier() in names]


def _require_acyclic(dependencies: Mapping[Any, Sequence[Any]], what: str, path: Path) -> None:
    try:
        TopologicalSorter(dependencies).prepare()
    except CycleError as error:
        cycle = " → ".join(_shown(item) for item in error.args[1])
        raise GraphError(
            f"{what} depend on themselves: {cycle}", where=str(path), hint="export the model again"
        ) from error


def _shown(item: object) -> str:
    return item.name or item.op_type if isinstance(item, ir.Node) else "::".join(part for part in item if part)  # type: ignore[attr-defined]


def _require_small(node: ir.Node, path: Path) -> None:
    count = _made_of_constants(node)
    if count is not None and not count <= LARGEST_CONSTANT:
        raise GraphError(
            f"node {node.name or node.op_type} ({node.op_type}) makes a constant of {count:g} elements",
            where=str(path),
            hint=f"a constant may have up to {LARGEST_CONSTANT} elements",
        )


def _is_at_hand(tensor: ir.TensorProtocol) -> bool:
    return tensor.size <= SIZES and not (isinstance(tensor, ir.ExternalTensor) and not Path(tensor.path).is_file())


def _made_of_constants(node: ir.Node) -> float | None:
    """Elements that a node makes from constants alone, where it may make many from few."""
    position = {"Range": 0, "ConstantOfShape": 0, "Expand": 1}.get(node.op_type)
    if position is None or node.domain not in ("", "ai.onnx"):
        return None
    operands = [None if value is None else ir.convenience.get_const_tensor(value) for value in node.inputs]
    arrays = [tensor.numpy() if tensor is not None and _is_at_hand(tensor) else None for tensor in operands]
    if node.op_type == "Range":
        if len(arrays) != 3 or any(array is None or array.size != 1 for array in arrays):
            return None
        start, limit, delta = (float(array.reshape(())) for array in arrays if array is not None)
        return max(0.0, (limit - start) / delta) if delta else math.inf
    shape = arrays[position] if len(arrays) > position else None
    return None if shape is None else float(math.prod(float(size) for size in shape.reshape(-1)))
