"""Two graphs in one: the reference and the candidate on the same inputs, interleaved so that tensors die young."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.core.errors import ValidationError
from pipeline.precision import template

REFERENCE = "reference::"
CANDIDATE = "candidate::"

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A tensor of the reference and what stands for it in the candidate, in one graph.

    Attributes:
        tensor: Its name in the reference.
        reference: The reference's value.
        candidate: The candidate's, brought back to the reference's scale and layout.
    """

    tensor: str
    reference: ir.Value
    candidate: ir.Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """Both graphs in one model.

    Attributes:
        model: The model; its outputs are the reference's.
        pairs: Every float tensor of the reference that the candidate has, in graph order.
        gaps: Float tensors of the reference that are not among `pairs`, with the reason.
    """

    model: ir.Model
    pairs: tuple[Pair, ...]
    gaps: dict[str, str]


def merge(reference: ir.Model, candidate: ir.Model, fates: Iterable[Fate]) -> Merged:
    """Put `candidate` beside `reference`; both are left as they are.

    Args:
        reference: An fp32 model.
        candidate: A model with the same inputs.
        fates: What became of the reference's tensors in the candidate, where not the same name, scale and layout.

    Raises:
        ValidationError: The inputs differ, or a tensor's fate names nothing in the candidate.
    """
    builder = _Builder(reference, candidate, {fate.tensor: fate for fate in fates})
    return builder.build()


class _Builder:
    def __init__(self, reference: ir.Model, candidate: ir.Model, fates: Mapping[str, Fate]) -> None:
        names = [[value.name for value in model.graph.inputs] for model in (reference, candidate)]
        if names[0] != names[1]:
            raise ValidationError(f"the reference has inputs {names[0]}, the candidate {names[1]}")
        self.reference, self.candidate, self.fates = reference, candidate, fates
        self.inputs = [_fresh(value, "") for value in reference.graph.inputs]
        self.weights: list[ir.Value] = []
        self.nodes: list[ir.Node] = []
        self.bound_r = self._bind(reference.graph, REFERENCE)
        self.bound_c = self._bind(candidate.graph, CANDIDATE)
        self.by_name = {str(value.name): value for value in _produced(candidate.graph)}
        self.pending = list(candidate.graph)
        self.done: set[ir.Node] = set()
        self.pairs: list[Pair] = []
        self.gaps: dict[str, str] = {}

    def build(self) -> Merged:
        position = {node: index for index, node in enumerate(self.pending)}
        emitted = 0
        for node in self.reference.graph:
            self.nodes.append(template.copy_node(node, self.bound_r, REFERENCE))
            for value in _float_outputs(node):
                target = self._counterpart(value)
                if target is None:
                    continue
                producer = target.producer()
                until = position[producer] + 1 if producer is not None else 0
                for other in self.pending[emitted:until]:
                    self.nodes.append(template.copy_node(other, self.bound_c, CANDIDATE))
                emitted = max(emitted, until)
                self._pair(value, target)
            self.gaps |= _inside(node)
        return Merged(model=self._model(), pairs=tuple(self.pairs), gaps=self.gaps)

    def _bind(self, graph: ir.Graph, prefix: str) -> dict[ir.Value, ir.Value]:
        bound = dict(zip(graph.inputs, self.inputs, strict=True))
        for value in graph.initializers.values():
            bound[value] = _fresh(value, prefix)
            self.weights.append(bound[value])
        return bound

    def _counterpart(self, value: ir.Value) -> ir.Value | None:
        name = str(value.name)
        if value.dtype not in FLOATS:
            self.gaps[name] = "its values are float64, which TensorRT does not compute in"
            return None
        fate = self.fates.get(name)
        if fate is not None and fate.now is None:
            self.gaps[name] = str(fate.reason)
            return None
        now = name if fate is None else str(fate.now)
        if now not in self.by_name:
            raise ValidationError(
                f"the mixed graph has no tensor {now}, and no fate says what became of it", where=f"tensor {name}"
            )
        return self.by_name[now]

    def _pair(self, value: ir.Value, target: ir.Value) -> None:
        name = str(value.name)
        fate = self.fates.get(name)
        candidate = self.bound_c[target]
        if fate is not None and fate.layout is not None:
            inverse = [fate.layout.index(axis) for axis in range(len(fate.layout))]
            candidate = self._add("Transpose", [candidate], f"{CANDIDATE}{name}::layout", perm=inverse)
        if fate is not None and fate.exponent:
            scale = ir.val(
                f"{CANDIDATE}{name}::exponent", const_value=ir.tensor(2.0**-fate.exponent, dtype=ir.DataType.FLOAT)
            )
            self.weights.append(scale)
            candidate = self._add("Mul", [candidate, scale], f"{CANDIDATE}{name}::scale")
        self.pairs.append(Pair(tensor=name, reference=self.bound_r[value], candidate=candidate))

    def _add(self, op: str, operands: list[ir.Value], name: str, **attributes: list[int]) -> ir.Value:
        node = ir.node(op, operands, attributes, name=name)
        node.outputs[0].name, node.outputs[0].dtype = name, ir.DataType.FLOAT
        self.nodes.append(node)
        return node.outputs[0]

    def _model(self) -> ir.Model:
        graph = ir.Graph(
            self.inputs,
            [self.bound_r[value] for value in self.reference.graph.outputs],
            nodes=self.nodes,
            initializers=self.weights,
            name=f"{self.reference.graph.name}, twice",
            opset_imports=dict(self.reference.graph.opset_imports),
        )
        functions = self.reference.functions | self.candidate.functions
        return ir.Model(graph, ir_version=self.reference.ir_version, functions=tuple(functions.values()))


def _fresh(value: ir.Value, prefix: str) -> ir.Value:
    return ir.Value(
        name=f"{prefix}{value.name}",
        type=template.copy_of_type(value),
        shape=value.shape,
        const_value=value.const_value,
    )


def _produced(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def _float_outputs(node: ir.Node) -> list[ir.Value]:
    kinds = FLOATS | {ir.DataType.DOUBLE}
    return [value for value in node.outputs if value.name and value.dtype in kinds]


def _inside(node: ir.Node) -> dict[str, str]:
    """Float tensors of `node`'s subgraphs, with the reason why they are not compared."""
    reason = f"inside a subgraph of node {node.name}, which is kept whole in fp32"
    return {
        str(value.name): reason
        for attribute in node.attributes.values()
        if attribute.type is ir.AttributeType.GRAPH
        for inner in ir.traversal.RecursiveGraphIterator(attribute.as_graph())
        for value in _float_outputs(inner)
    }
