"""A candidate's nodes one by one on the reference's tensors, so that what each of them adds can be told apart."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import onnx_ir as ir

from pipeline.precision import template

ALONE = "alone::"

SMALL = 1 << 20
"""Bytes up to which a weight is compared with the reference's, so that nodes that read it can be recognised."""

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)

_Key = tuple[Hashable, ...]


class Isolation:
    """Copies of nodes on the reference's operands. What the graph already computes is not computed again.

    Args:
        bound: What stands for the candidate's inputs and weights; results are added.

    Attributes:
        bound: What each value of the candidate is when the reference's tensors are fed to what made it.
    """

    def __init__(self, bound: Mapping[ir.Value, ir.Value]) -> None:
        self.bound = dict(bound)
        self._known: dict[_Key, list[ir.Value]] = {}

    def remember(self, node: ir.Node) -> None:
        """`node` is in the graph: a copy of the same operator on the same operands is it."""
        key = _key(node, tuple(node.inputs))
        if key is not None:
            self._known.setdefault(key, list(node.outputs))

    def take(self, node: ir.Node) -> ir.Node | None:
        """Copy `node` onto what stands for its operands; None where the graph has the result already."""
        operands = tuple(None if value is None else self.bound[value] for value in node.inputs)
        known = list(operands) if _keeps_type(node, operands) else self._known.get(_key(node, operands) or ())
        if known is not None and len(known) >= len(node.outputs):
            self.bound.update(zip(node.outputs, known, strict=False))  # type: ignore[arg-type]
            return None
        copy = template.copy_node(node, self.bound, ALONE)
        self.remember(copy)
        return copy


def equal_weights(one: ir.Value, other: ir.Value) -> bool:
    """Whether two initializers are small and hold the same bytes."""
    a, b = one.const_value, other.const_value
    if a is None or b is None or a.dtype != b.dtype or a.nbytes > SMALL or a.shape != b.shape:
        return False
    return a.tobytes() == b.tobytes()


def _keeps_type(node: ir.Node, operands: tuple[ir.Value | None, ...]) -> bool:
    if node.op_type == "Identity":
        return True
    source = operands[0] if operands else None
    return node.op_type == "Cast" and source is not None and node.attributes.get_int("to") == source.dtype


def _key(node: ir.Node, operands: tuple[ir.Value | None, ...]) -> _Key | None:
    """What two nodes have alike that compute the same; None where that cannot be told."""
    attributes = [_hashable(attribute) for attribute in node.attributes.values()]
    if node.op_type in _RANDOM or any(attribute is None for attribute in attributes):
        return None
    return (node.domain, node.op_type, operands, frozenset(attributes))


def _hashable(attribute: ir.Attr) -> _Key | None:
    value = attribute.value
    if isinstance(value, list | tuple) and all(isinstance(item, int | float | str) for item in value):
        return attribute.name, tuple(value)
    return (attribute.name, value) if isinstance(value, int | float | str) else None
