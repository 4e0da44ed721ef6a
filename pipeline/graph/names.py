"""Replace the names that a model's author gave by ordinals; names of graph inputs and outputs are its interface."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

import onnx_ir as ir

from pipeline.core.errors import GraphError
from pipeline.graph import modules

GRAPH = "model"


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What each name became.

    Attributes:
        nodes: Node names, old to new.
        tensors: Tensor names, old to new.
        modules: Components of module paths and class names, old to new.
    """

    nodes: dict[str, str]
    tensors: dict[str, str]
    modules: dict[str, str]


def strip(model: ir.Model) -> Names:
    """Rename nodes, tensors, weights and modules of `model` (which is changed) in graph order; drop all other text.

    Module paths keep their form, so that what belongs together still does: `encoder.layer.0` becomes `m1.m2.0`.

    Raises:
        GraphError: The model has functions of its own, whose names are operators.
    """
    if model.functions:
        raise GraphError(
            "names of a model with ONNX functions cannot be stripped", hint="inline the functions before the export"
        )
    interface = {str(value.name) for value in (*model.graph.inputs, *model.graph.outputs)}
    writer = _Writer(interface=interface)
    writer.take_graph(model.graph)
    model.graph.name, model.graph.doc_string, model.doc_string = GRAPH, None, None
    model.producer_name = model.producer_version = model.domain = None
    model.metadata_props.clear()
    return Names(nodes=writer.nodes, tensors=writer.tensors, modules=writer.modules)


@dataclass(slots=True, kw_only=True)
class _Writer:
    """Gives out ordinals.

    Attributes:
        interface: Names that stay, and that no ordinal may be.
    """

    interface: set[str]
    nodes: dict[str, str] = field(default_factory=dict)
    tensors: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, count[int]] = field(default_factory=dict)

    def take_graph(self, graph: ir.Graph, *, inner: bool = False) -> None:
        """Rename everything in `graph` and in the graphs inside its nodes."""
        graph.metadata_props.clear()
        if inner:
            graph.name, graph.doc_string = GRAPH, None
            for value in graph.inputs:
                self._take_value(value)
        for value in list(graph.initializers.values()):
            self._take_value(value)
        for node in graph:
            self._take_node(node)

    def _take_node(self, node: ir.Node) -> None:
        old = str(node.name)
        node.name = self.nodes[old] = self._next("n")
        node.doc_string = None
        kept = {key: self._module(node.metadata_props[key]) for key in _told(node)}
        node.metadata_props.clear()
        node.metadata_props.update(kept)
        for value in node.outputs:
            self._take_value(value)
        for attribute in node.attributes.values():
            if attribute.type is ir.AttributeType.GRAPH:
                self.take_graph(attribute.as_graph(), inner=True)

    def _take_value(self, value: ir.Value) -> None:
        value.doc_string = None
        value.metadata_props.clear()
        old = value.name
        if not old or old in self.interface:
            return
        new = self.tensors[old] = self._next("t")
        if value.const_value is not None:
            value.const_value.name = new
        value.name = new

    def _module(self, path: str) -> str:
        return ".".join(self._component(part) for part in path.split("."))

    def _component(self, part: str) -> str:
        if part.isdigit() or not part:
            return part
        return self.modules.setdefault(part, f"m{len(self.modules) + 1}")

    def _next(self, letter: str) -> str:
        numbers = self.numbers.setdefault(letter, count(1))
        return next(name for number in numbers if (name := f"{letter}{number}") not in self.interface)


def _told(node: ir.Node) -> Iterator[str]:
    return (key for key in (modules.MODULE, modules.CLASS) if key in node.metadata_props)
