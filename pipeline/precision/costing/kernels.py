"""Which nodes a fusing compiler runs as one kernel: read off the plans of TensorRT-RTX 1.7, as far as the graph tells.

What the plans show, and what is assumed here of every graph:

- An attention core is one kernel while all that its products read was rounded to one low format, whatever Casts back to
  fp32 then stand at their operands.
- A product (GEMM, convolution) is a kernel with an epilogue: elementwise nodes behind it that alone read its result.
  Casts between the product and its epilogue stay inside.
- Elementwise nodes, norms, reductions and data movement that meet without a product between them are one kernel.
- What reshapes or transposes the result of a kernel is done while that is written. Nodes that compute on weights alone,
  or on shapes, are no kernels.

Products of one tensor, which TensorRT merges where it can, are counted one by one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.precision import attention
from pipeline.precision.semantics import CONVOLUTIONS, WEIGHTED, Movement, OpSemantics

_REARRANGED = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_ELEMENTWISE_MOVES = frozenset({"Abs", "Clip", "Max", "Min", "Neg", "Relu", "Sign", "ThresholdedRelu", "Where"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernels:
    """A partition of the float nodes that depend on an input.

    Attributes:
        of: Kernel of each node, where every attention core is one kernel.
        products: Kernels that hold a product.
        convolutions: Those of them whose product is a convolution.
        epilogue: Nodes that follow a product in its kernel.
        cores: Attention cores, each with the kernels that its nodes have where it is not one kernel.
    """

    of: dict[ir.Node, int]
    products: frozenset[int]
    convolutions: frozenset[int]
    epilogue: frozenset[ir.Node]
    cores: tuple[tuple[attention.Core, dict[ir.Node, int]], ...]


def partition(graph: ir.Graph, rows: Mapping[ir.Node, OpSemantics], constant: Collection[ir.Node]) -> Kernels:
    """The kernels of `graph`.

    Args:
        graph: The fp32 graph.
        rows: Semantics of its nodes.
        constant: Nodes that compute the same for every input.
    """
    walk = _Partition(rows=rows, nodes=[node for node in graph if node not in constant and _has_floats(node, rows)])
    walk.take_attentions(graph)
    walk.take_products()
    walk.take_regions()
    return Kernels(
        of=walk.of,
        products=frozenset(walk.products),
        convolutions=frozenset(walk.of[node] for node in walk.nodes if node.op_type in CONVOLUTIONS),
        epilogue=frozenset(walk.epilogue),
        cores=tuple(walk.cores),
    )


def constant_nodes(graph: ir.Graph) -> frozenset[ir.Node]:
    """Nodes that depend on no input: they compute on weights alone."""
    found: set[ir.Node] = set()
    for node in graph:
        values = [value for value in node.inputs if value is not None]
        if not _holds_graph(node) and all(value.producer() in found or _is_weight(value) for value in values):
            found.add(node)
    return frozenset(found)


class _Partition:
    def __init__(self, *, rows: Mapping[ir.Node, OpSemantics], nodes: list[ir.Node]) -> None:
        self.rows = rows
        self.nodes = nodes
        self.inside = set(nodes)
        self.of: dict[ir.Node, int] = {}
        self.products: set[int] = set()
        self.epilogue: set[ir.Node] = set()
        self.cores: list[tuple[attention.Core, dict[ir.Node, int]]] = []
        self.count = 0

    def new(self) -> int:
        self.count += 1
        return self.count - 1

    def take_attentions(self, graph: ir.Graph) -> None:
        for core in attention.cores(graph):
            members = [core.scores, *core.between, core.softmax, *core.after, core.values]
            if any(node in self.of or node not in self.inside for node in members):
                continue
            whole, first, second, third = (self.new() for _ in range(4))
            self.of |= dict.fromkeys(members, whole)
            self.products |= {whole, first, third}
            apart = dict.fromkeys(members, second) | {core.scores: first, core.values: third}
            self.cores.append((core, apart))

    def take_products(self) -> None:
        for node in self.nodes:
            if node.op_type in WEIGHTED and node not in self.of:
                kernel = self.of[node] = self.new()
                self.products.add(kernel)
                for follower in self._epilogue(node):
                    self.of[follower] = kernel
                    self.epilogue.add(follower)

    def take_regions(self) -> None:
        depths = self._depths()
        leaders: dict[ir.Node, ir.Node] = {node: node for node in self.nodes if node not in self.of}
        for node in self.nodes:
            for value in node.inputs:
                producer = value.producer() if value is not None else None
                if node not in leaders or producer is None or producer not in self.inside:
                    continue
                if producer in leaders and depths[producer] == depths[node]:
                    leaders[_leader(leaders, node)] = _leader(leaders, producer)
        kernels: dict[ir.Node, int] = {}
        for node in leaders:
            leader = _leader(leaders, node)
            if leader not in kernels:
                kernels[leader] = self.new()
            self.of[node] = kernels[leader]
        self._write_rearranged(leaders)

    def _epilogue(self, product: ir.Node) -> list[ir.Node]:
        """Elementwise nodes behind `product`, up to where a norm or a reduction takes over what is added last."""
        found = [product]
        for node in found:
            found.extend(reader for reader in dict.fromkeys(_readers(node)) if self._follows(reader, found))
        while len(found) > 1 and not (_leave_by_one(found) and not self._is_taken_over(found)):
            found.pop()
        return found[1:]

    def _follows(self, node: ir.Node, found: list[ir.Node]) -> bool:
        """Whether `node` computes each element from one that is already there, and at most one from elsewhere."""
        if node in found or node in self.of or node not in self.inside or not attention.is_elementwise(node):
            return False
        return not self._moves(node) and sum(self._is_foreign(value, found) for value in node.inputs) <= 1

    def _is_taken_over(self, found: list[ir.Node]) -> bool:
        joins = any(self._is_foreign(value, found) for value in found[-1].inputs)
        return joins and any(self._reduces(reader) for reader in _readers(found[-1]) if reader in self.inside)

    def _is_foreign(self, value: ir.Value | None, found: list[ir.Node]) -> bool:
        """Whether `value` varies with the inputs and does not come from `found`."""
        if value is None:
            return False
        producer = value.producer()
        return value.is_graph_input() if producer is None else producer in self.inside and producer not in found

    def _moves(self, node: ir.Node) -> bool:
        """Whether `node` changes where elements stand, or how many there are."""
        return self.rows[node].movement is Movement.EXACT and node.op_type not in _ELEMENTWISE_MOVES

    def _reduces(self, node: ir.Node) -> bool:
        row = self.rows[node]
        return row.movement is Movement.COMPOSITE or (row.sums and row.op not in WEIGHTED)

    def _depths(self) -> dict[ir.Node, int]:
        """How many kernels with a product lie on the longest way from an input to each node."""
        depths: dict[ir.Node, int] = {}
        for node in self.nodes:
            behind = [
                depths[producer] + (self.of.get(producer, -1) in self.products)
                for value in node.inputs
                if value is not None and (producer := value.producer()) in depths and producer is not None
            ]
            depths[node] = max(behind, default=0)
        return depths

    def _write_rearranged(self, regions: dict[ir.Node, ir.Node]) -> None:
        for node in self.nodes:
            producer = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
            if node in regions and node.op_type in _REARRANGED and producer is not None and producer in self.of:
                self.of[node] = self.of[producer]


def _leader(leaders: dict[ir.Node, ir.Node], node: ir.Node) -> ir.Node:
    while leaders[node] is not node:
        leaders[node] = node = leaders[leaders[node]]
    return node


def _has_floats(node: ir.Node, rows: Mapping[ir.Node, OpSemantics]) -> bool:
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    return rows[node].movement is not Movement.INTEGER and any(value.dtype is ir.DataType.FLOAT for value in values)


def _leave_by_one(found: list[ir.Node]) -> bool:
    """Whether only the last of `found` is read by others, so that nothing between is written."""
    inside = set(found)
    values = (value for node in found[:-1] for value in node.outputs)
    return not any(value.is_graph_output() or any(use.node not in inside for use in value.uses()) for value in values)


def _holds_graph(node: ir.Node) -> bool:
    kinds = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
    return any(isinstance(item, ir.Attr) and item.type in kinds for item in node.attributes.values())


def _is_weight(value: ir.Value) -> bool:
    return value.is_initializer() and not value.is_graph_input()


def _readers(node: ir.Node) -> Iterator[ir.Node]:
    return (use.node for value in node.outputs for use in value.uses())
