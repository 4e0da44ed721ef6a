"""An If whose condition is the same for every input gives way to the branch that is taken.

Exporters write one where the code asked for a rank or a size: sizes that the axes of the inputs decide. TensorRT builds
no If whose branches differ in rank, and what an If holds is neither observed nor given a precision node by node.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.graph import modules
from pipeline.graph.correspondence import compose, tensor_names, values
from pipeline.precision.rewrites.constants import lift
from pipeline.precision.rewrites.edits import constant_array, free_name, named
from pipeline.precision.rewrites.fold import fold_constants
from pipeline.precision.rewrites.types import infer


def inline_decided_ifs(model: ir.Model) -> tuple[Fate, ...]:
    """Put the taken branch of each decided If of the main graph in its place, in place, until none is left.

    A branch may hold what decides the next condition, so sizes are inferred and constants folded again after each
    round. What the If computed keeps its names; an If that the input decides stays whole.

    Raises:
        GraphError: A tensor has no element type and none can be inferred.
    """
    before, told, left = tensor_names(model), list[tuple[Fate, ...]](), -1
    while _has_if(model.graph) and left != (left := _count(model)):
        told += [lift(model), infer(model), fold_constants(model)]
        for node in list(model.graph):
            taken = _taken_branch(node)
            if taken is not None:
                _inline(model, node, taken)
    return compose(before, *told)


def _has_if(graph: ir.Graph) -> bool:
    return any(_is_if(node) for node in graph)


def _is_if(node: ir.Node) -> bool:
    return node.op_type == "If" and node.domain in ("", "ai.onnx")


def _count(model: ir.Model) -> int:
    """Nodes at all depths: every fold and every inlining makes them fewer."""
    return sum(1 for _ in model.graph.all_nodes())


def _taken_branch(node: ir.Node) -> ir.Graph | None:
    condition = constant_array(node.inputs[0]) if _is_if(node) else None
    if condition is None or condition.size != 1:
        return None
    return node.attributes["then_branch" if condition.reshape(()) else "else_branch"].as_graph()


def _inline(model: ir.Model, node: ir.Node, branch: ir.Graph) -> None:
    """Move what `branch` holds to where `node` stands; the results of `node` keep their names."""
    graph, results, nodes = model.graph, list(branch.outputs), list(branch)
    _name_apart(model, node, branch)
    branch.outputs.clear()
    branch.remove(nodes)
    graph.insert_before(node, nodes)
    for value in list(branch.initializers.values()):
        del branch.initializers[named(value)]
        graph.register_initializer(value)
    given: set[ir.Value] = set()
    for old, result in zip(node.outputs, results, strict=True):
        own = result.producer() in nodes and result not in given
        given.add(result)
        _hand_over(old, result if own else _copied(node, old, result))
    _forget(node)
    graph.remove(node, safe=True)
    for moved in nodes:
        _describe(moved, node)


def _name_apart(model: ir.Model, node: ir.Node, branch: ir.Graph) -> None:
    """Give what moves into the main graph names that nothing else in the model has."""
    held = set(_graphs(node))
    others = [graph for graph in model.graphs() if graph not in held]
    tensors = {named(value) for graph in others for value in values(graph)}
    nodes = {str(other.name) for graph in others for other in graph}
    for value in list(values(branch)):
        _rename(branch, value, free_name(named(value), tensors))
    for inner in branch:
        inner.name = free_name(str(inner.name), nodes)


def _rename(branch: ir.Graph, value: ir.Value, name: str) -> None:
    if value.name == name:
        return
    if value.is_initializer():
        del branch.initializers[named(value)]
        value.name = name
        branch.register_initializer(value)
    else:
        value.name = name


def _hand_over(old: ir.Value, new: ir.Value) -> None:
    name = named(old)
    if old.dtype is not None:
        new.dtype = old.dtype
    new.shape = new.shape if old.shape is None else old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    old.name, new.name = None, name


def _copied(node: ir.Node, old: ir.Value, result: ir.Value) -> ir.Value:
    """An Identity of a result that no node of the branch computes, or that is two results at once."""
    copy = ir.node("Identity", [result], name=f"{node.name}::{old.index()}")
    modules.inherit(copy, node)
    if node.graph is not None:
        node.graph.insert_before(node, copy)
    new = copy.outputs[0]
    new.type, new.shape = result.type, result.shape
    return new


def _describe(moved: ir.Node, node: ir.Node) -> None:
    """The module of the If where the node names none; sizes without the names that only the branch used."""
    if not modules.module_of(moved):
        modules.inherit(moved, node)
    for value in moved.outputs:
        if value.shape is not None and not value.is_graph_output():
            value.shape = ir.Shape([dim if isinstance(dim, int) else None for dim in value.shape])


def _graphs(node: ir.Node) -> Iterator[ir.Graph]:
    """Graphs that `node` holds, at all depths."""
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH:
            yield (graph := attribute.as_graph())
            for inner in graph:
                yield from _graphs(inner)


def _forget(node: ir.Node) -> None:
    """Let what is left in the branches of `node` read nothing any more."""
    for graph in _graphs(node):
        for inner in graph:
            for position in range(len(inner.inputs)):
                inner.replace_input_with(position, None)
