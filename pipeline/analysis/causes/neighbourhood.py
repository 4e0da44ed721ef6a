"""What stands around a node of the reference, and in which formats the mixed graph has it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import onnx_ir as ir

from pipeline.graph.typed import FLOATS
from pipeline.precision import attention, decomposed_norms, ranking, semantics
from pipeline.precision.emulation.emulate import LOW
from pipeline.precision.semantics import Movement

NORMS = frozenset({"LayerNormalization", "RMSNormalization", "GroupNormalization", "InstanceNormalization", "Softmax"})


class Neighbourhood:
    """Questions about the reference's graph, by name.

    Args:
        reference: The fp32 model.
        mixed: The mixed graph: tensors and nodes have the same names.
    """

    def __init__(self, reference: ir.Model, mixed: ir.Model) -> None:
        self._nodes = {str(node.name): node for node in reference.graph}
        produced = (value for node in reference.graph for value in node.outputs)
        self._values = {str(value.name): value for value in (*reference.graph.inputs, *produced) if value.name}
        self._low = {str(v.name) for node in mixed.graph for v in node.outputs if v.dtype in LOW}
        self._cores = attention.cores(reference.graph)
        self._parts = {str(n.name): chain.kind for chain in decomposed_norms.find(reference.graph) for n in chain.nodes}

    def value(self, tensor: str) -> ir.Value:
        """The reference's tensor."""
        return self._values[tensor]

    def operands(self, tensor: str) -> list[str]:
        """Float activations that the node of `tensor` reads."""
        node = self._values[tensor].producer() if tensor in self._values else None
        read = node.inputs if node is not None else ()
        names = [str(v.name) for v in read if v is not None and v.dtype in FLOATS and not v.is_initializer()]
        return [name for name in dict.fromkeys(names) if name in self._values]

    def part(self, nodes: Iterable[str]) -> str | None:
        """The normalisation or attention that nodes belong to, if the first of them belongs to one."""
        name = next(iter(nodes))
        node = self._nodes.get(name)
        if node is None:
            return None
        if node.op_type in NORMS:
            return node.op_type
        inside = any(node in (core.scores, *core.between, *core.after, core.values) for core in self._cores)
        return self._parts.get(name) or ("attention" if inside else None)

    def makers(self, nodes: Iterable[str]) -> set[str]:
        """The nodes that compute the low tensors which `nodes` read, and what only moves those in between."""
        found: set[str] = set()
        waiting = [value for name in nodes if name in self._nodes for value in self._nodes[name].inputs]
        while waiting:
            value = waiting.pop()
            maker = value.producer() if value is not None and value.name in self._low else None
            if maker is None or maker.name in found:
                continue
            found.add(str(maker.name))
            row = semantics.TABLE.get(maker.op_type)
            if row is not None and row.movement is Movement.EXACT:
                waiting += maker.inputs
        return found

    def ranker(self, node: str) -> str | None:
        """The node that ranks floats to make the indices which `node` reads."""
        found = ranking.ranker(self._nodes[node]) if node in self._nodes else None
        return None if found is None else str(found.name)

    def closure(self, nodes: Sequence[str], overflowing: Collection[str]) -> list[str]:
        """`nodes` and whoever reads what overflows, moved about or not: it would be rounded and overflow again."""
        wanted, waiting = set(nodes), [self._values[tensor] for tensor in overflowing]
        while waiting:
            for reader, _ in waiting.pop().uses():
                name, row = str(reader.name), semantics.TABLE.get(reader.op_type)
                if name not in wanted and row is not None and row.movement is Movement.EXACT:
                    waiting += reader.outputs
                wanted.add(name)
        return [name for name in self._nodes if name in wanted]

    def new_casts(self, nodes: Collection[str]) -> int:
        """Casts that `nodes` in fp32 add: one a tensor that crosses from low to fp32 or back."""
        members = {self._nodes[name] for name in nodes if name in self._nodes}
        read = {v for node in members for v in node.inputs if v is not None and v.name in self._low}
        entering = {value for value in read if value.producer() not in members}
        made = {value for node in members for value in node.outputs if value.name in self._low}
        leaving = {value for value in made if any(node not in members for node, _ in value.uses())}
        return len(entering) + len(leaving)

    def attention(self, nodes: Collection[str]) -> str | None:
        """What becomes of fused attentions when `nodes` are in fp32; None where they are in none."""
        products = sum(bool({str(core.scores.name), str(core.values.name)} & set(nodes)) for core in self._cores)
        inner = sum(any(str(node.name) in nodes for node in (*core.between, core.softmax)) for core in self._cores)
        if products:
            return f"{products} of {len(self._cores)} attentions lose their fused kernel"
        return "the fused attention kernel stays" if inner else None
