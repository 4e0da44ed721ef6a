"""Find normalisations that an exporter wrote out in elementary operators.

The shape of all of them: squares are summed or averaged, something small is added, a root is taken, and what was
squared is divided by it (or multiplied by its reciprocal); then come a constant scale and a constant bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

_AVERAGES = frozenset({"ReduceMean", "GlobalAveragePool"})
_SUMS = frozenset({"ReduceSum"}) | _AVERAGES
_SQUARE_SUMS = frozenset({"ReduceSumSquare", "ReduceL2"})
_MOVES = frozenset({"Cast", "Expand", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Transpose"})
_WITH_CONSTANT = frozenset({"Add", "Clip", "Div", "Max", "Mul"})
_BEFORE_ROOT = _MOVES | {"Sub"}
_AFTER_ROOT = _MOVES | {"Reciprocal"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One normalisation.

    Attributes:
        kind: `LayerNorm`, `RMSNorm` or `L2 normalisation`.
        squares: What is summed: the squares, or what `ReduceL2` squares itself.
        nodes: All its nodes, from the first subtraction of the mean to the bias.
    """

    kind: str
    squares: ir.Value
    nodes: tuple[ir.Node, ...]


def find(graph: ir.Graph) -> Iterator[Chain]:
    """Normalisations of the main graph, in graph order."""
    for node in graph:
        if (data := _squared(node)) is not None and (chain := _chain(node, data)) is not None:
            yield chain


def constant_scalar(value: ir.Value | None) -> float | None:
    """The number that a constant of one element holds."""
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return float(tensor.numpy().item()) if tensor is not None and tensor.size == 1 else None


def _squared(node: ir.Node) -> ir.Value | None:
    """What `node` sums the squares of."""
    operand = node.inputs[0] if node.inputs else None
    if node.op_type in _SQUARE_SUMS:
        return operand
    square = operand.producer() if operand is not None and node.op_type in _SUMS else None
    if square is None:
        return None
    is_power = square.op_type == "Pow" and constant_scalar(square.inputs[1]) == 2.0
    is_product = square.op_type == "Mul" and square.inputs[0] is square.inputs[1]
    return square.inputs[0] if is_power or is_product else None


def _chain(total: ir.Node, data: ir.Value) -> Chain | None:
    to_root = [] if total.op_type == "ReduceL2" else _path_to_root(total)
    if to_root is None:
        return None
    root = to_root[-1] if to_root else total
    applied = _path_to_application(root.outputs[0])
    if not applied:
        return None
    centring = _centring(data)
    squares = total.inputs[0]
    square = squares.producer() if squares is not None and squares is not data else None
    nodes = [*centring, *([square] if square is not None else []), total, *to_root, *applied]
    nodes += _numerator_centring(applied[-1], centring)
    nodes += _affine(applied[-1])
    kind = "LayerNorm" if centring else "RMSNorm" if total.op_type in _AVERAGES else "L2 normalisation"
    assert squares is not None
    return Chain(kind=kind, squares=squares, nodes=tuple(dict.fromkeys(nodes)))


def _path_to_root(total: ir.Node) -> list[ir.Node] | None:
    """Nodes from the sum of squares to the root, which is the last."""
    for node, _ in total.outputs[0].uses():
        if _is_root(node):
            return [node]
        if (node.op_type in _BEFORE_ROOT or _scales_or_shifts(node)) and (rest := _path_to_root(node)) is not None:
            return [node, *rest]
    return None


def _is_root(node: ir.Node) -> bool:
    if node.op_type == "Sqrt":
        return True
    return node.op_type == "Pow" and constant_scalar(node.inputs[1]) in (0.5, -0.5)


def _path_to_application(root: ir.Value) -> list[ir.Node]:
    """Nodes from the root to the Mul or Div that applies it, which is the last; empty where there is none."""
    for node, position in root.uses():
        if _applies(node, position):
            return [node]
        passes = node.op_type in _AFTER_ROOT or _scales_or_shifts(node)
        if passes and (rest := _path_to_application(node.outputs[0])):
            return [node, *rest]
    return []


def _applies(node: ir.Node, position: int) -> bool:
    if node.op_type == "Div":
        return position == 1 and not _is_constant(node.inputs[0])
    return node.op_type == "Mul" and not _is_constant(node.inputs[1 - position])


def _scales_or_shifts(node: ir.Node) -> bool:
    """Whether `node` combines its one varying operand with constants: eps, 1 / n, a bound, 1 / root."""
    varying = [value for value in node.inputs if value is not None and not _is_constant(value)]
    return node.op_type in _WITH_CONSTANT and len(varying) == 1


def _is_constant(value: ir.Value | None) -> bool:
    return ir.convenience.get_const_tensor(value) is not None if value is not None else False


def _centring(data: ir.Value) -> list[ir.Node]:
    """The mean and its subtraction, where `data` is x - mean(x)."""
    node = data.producer()
    if node is None or node.op_type != "Sub":
        return []
    mean = node.inputs[1].producer() if node.inputs[1] is not None else None
    return [mean, node] if mean is not None and mean.op_type in _AVERAGES else []


def _numerator_centring(application: ir.Node, centring: list[ir.Node]) -> list[ir.Node]:
    """A second subtraction of the mean, which some exporters write for the numerator."""
    if not centring:
        return []
    return [node for value in application.inputs if value is not None for node in _centring(value)]


def _affine(application: ir.Node) -> list[ir.Node]:
    """The constant scale and bias that follow."""
    nodes: list[ir.Node] = []
    value = application.outputs[0]
    for op in ("Mul", "Add"):
        readers = [use.node for use in value.uses()]
        if len(readers) == 1 and readers[0].op_type == op and any(_is_weight(v) for v in readers[0].inputs):
            nodes.append(readers[0])
            value = readers[0].outputs[0]
    return nodes


def _is_weight(value: ir.Value | None) -> bool:
    return value is not None and value.is_initializer()
