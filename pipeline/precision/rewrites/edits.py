"""Edits of a graph that keep tensor names, node names and module paths in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.graph import modules
from pipeline.graph.correspondence import values

SMALL = 1024
"""Constants of at most this many elements are read when a rewrite looks for a pattern; larger ones are weights."""


class Editor:
    """Adds nodes and constants to one main graph under names that are not taken, and collects fates.

    Args:
        model: The model; it is changed in place.
    """

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.opset = model.opset_imports.get("", 0)
        self._fates: dict[str, Fate] = {}
        self._tensors = {name for graph in model.graphs() for value in values(graph) if (name := value.name)}
        self._nodes = {node.name for node in model.graph.all_nodes() if node.name}

    @property
    def fates(self) -> tuple[Fate, ...]:
        """What became of the tensors that were changed so far."""
        return tuple(self._fates.values())

    def tell(self, tensor: ir.Value, now: str | None, reason: str) -> None:
        """Record the fate of `tensor`, by its present name."""
        name = named(tensor)
        self._fates[name] = Fate(tensor=name, now=now, reason=reason)

    def renamed(self, old: str, new: str, reason: str) -> None:
        """Record that the tensor that was named `old` is now named `new`; what `old` stood for follows."""
        for tensor, fate in self._fates.items():
            if fate.now == old:
                self._fates[tensor] = dataclasses.replace(fate, now=new)
        self._fates[old] = Fate(tensor=old, now=new, reason=reason)

    def constant(self, wanted: str, array: npt.NDArray[np.generic]) -> ir.Value:
        """A new initializer that holds `array`, named `wanted` if that is free."""
        name = free_name(wanted, self._tensors)
        tensor = ir.tensor(array, name=name)
        value = ir.val(name, dtype=tensor.dtype, shape=array.shape, const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def free(self, wanted: str) -> str:
        """`wanted`, or that with a number, as a tensor name that is now taken."""
        return free_name(wanted, self._tensors)

    def rename_initializer(self, value: ir.Value, name: str) -> None:
        """Give an initializer a name that has become free."""
        self.graph.initializers.pop(named(value))
        value.name = name
        if value.const_value is not None:
            value.const_value.name = name
        self.graph.register_initializer(value)

    def node(
        self,
        op: str,
        inputs: Sequence[ir.Value],
        *,
        beside: ir.Node,
        output: str,
        dtype: ir.DataType | None,
        shape: ir.Shape | None,
        attributes: Mapping[str, int | float | Sequence[int]] | None = None,
        after: bool = False,
    ) -> ir.Value:
        """Insert a node with one output beside node `beside`, whose module it inherits.

        Args:
            op: Operator of the default domain.
            inputs: Its inputs, which must be computed before it.
            beside: The node that it serves.
            output: Name for its output (and, prefixed with the operator, for the node) if it is free.
            dtype: Element type of its output.
            shape: Shape of its output, where known.
            attributes: Attributes by name.
            after: Whether it stands behind `beside` rather than before it.

        Returns:
            Its output.
        """
        name = free_name(output, self._tensors)
        node = ir.node(op, inputs, attributes=attributes, name=free_name(f"{op}::{output}", self._nodes))
        modules.inherit(node, beside)
        value = node.outputs[0]
        value.name, value.shape = name, shape
        if dtype is not None:
            value.dtype = dtype
        (self.graph.insert_after if after else self.graph.insert_before)(beside, node)
        return value

    def supersede(self, old: ir.Value, new: ir.Value) -> None:
        """Let `new` take the name, the readers and the place among graph outputs of `old`.

        `old` keeps a name of its own (`…::superseded`) until dead code is removed; the tensor lives on in `new`.
        """
        name = named(old)
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        old.name = free_name(f"{name}::superseded", self._tensors)
        new.name = name
        if new.shape is None:
            new.shape = old.shape

    def wrap(self, inner: ir.Value, outer: ir.Value, suffix: str, *, also: ir.Node | None = None) -> None:
        """Let `outer`, computed from `inner`, take name, readers and place among graph outputs of `inner`.

        `inner` goes on under a name of its own, `…::suffix`, read by the node of `outer` and by `also`.
        """
        name = named(inner)
        own = {outer.producer(), also}
        for node, position in list(inner.uses()):
            if node not in own:
                node.replace_input_with(position, outer)
        if inner.is_graph_output():
            outputs = self.graph.outputs
            outputs[outputs.index(inner)] = outer
        inner.name, outer.name = self.free(f"{name}::{suffix}"), name

    def sweep(self, node: ir.Node | None, reason: str) -> None:
        """Remove `node` if nobody reads its outputs, then likewise what only it read; their tensors are gone."""
        if node is None or node.graph is None or any(value.uses() or value.is_graph_output() for value in node.outputs):
            return
        inputs = [value for value in node.inputs if value is not None]
        for value in node.outputs:
            if value.name:
                self.tell(value, None, reason)
        self.graph.remove(node, safe=True)
        for value in inputs:
            self.sweep(value.producer(), reason)


def named(value: ir.Value) -> str:
    """Name of a tensor.

    Raises:
        ValueError: It has none.
    """
    if not value.name:
        raise ValueError(f"a tensor of {value.producer()} has no name")
    return value.name


def producer(value: ir.Value | None, *ops: str) -> ir.Node | None:
    """The node that computes `value` if it is one of `ops` of the default domain (any, where none is given)."""
    node = None if value is None else value.producer()
    if node is None or node.domain not in ("", "ai.onnx") or (ops and node.op_type not in ops):
        return None
    return node


def sole_reader(value: ir.Value, *ops: str) -> ir.Node | None:
    """The only node that reads `value`, if there is just one, it is one of `ops`, and `value` is no graph output."""
    readers = {use.node for use in value.uses()}
    if len(readers) != 1 or value.is_graph_output():
        return None
    node = next(iter(readers))
    return node if not ops or node.op_type in ops else None


def constant_array(value: ir.Value | None) -> npt.NDArray[np.generic] | None:
    """The elements of a small constant; None for a weight, for what is computed, and for an input with a default."""
    if value is None or value.is_graph_input() or value.const_value is None:
        return None
    if not (value.is_initializer() or producer(value, "Constant")) or value.const_value.size > SMALL:
        return None
    array: npt.NDArray[np.generic] = value.const_value.numpy()
    return array


def scalar(value: ir.Value | None) -> float | None:
    """The number in a constant of one element that broadcasts without raising a rank above 1."""
    array = constant_array(value)
    if array is None or array.size != 1 or array.ndim > 1:
        return None
    return float(array.reshape(()))


def integers(value: ir.Value | None) -> tuple[int, ...] | None:
    """The numbers in an integer constant."""
    array = constant_array(value)
    if array is None or not np.issubdtype(array.dtype, np.integer):
        return None
    return tuple(int(number) for number in array.reshape(-1))


def free_name(wanted: str, taken: set[str]) -> str:
    """`wanted`, or that with a number, which is added to the names that are `taken`."""
    name, count = wanted, 1
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name
