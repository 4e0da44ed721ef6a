"""Two graphs in one: the reference and the candidate on the same inputs, interleaved so that tensors die young."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.core.errors import ValidationError
from pipeline.graph.typed import FLOATS
from pipeline.precision import template
from pipeline.precision.reducers.isolate import Isolation, equal_weights

REFERENCE = "reference::"
CANDIDATE = "candidate::"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A tensor of the reference and what stands for it in the candidate, in one graph.

    Attributes:
        tensor: Its name in the reference.
        reference: The reference's value.
        candidate: The candidate's, brought back to the reference's scale and layout.
        alone: Likewise what the candidate makes of it from the reference's tensors: `reference` itself where the same
            operators work on the same tensors; None where it was not asked for.
    """

    tensor: str
    reference: ir.Value
    candidate: ir.Value
    alone: ir.Value | None = None


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


def merge(reference: ir.Model, candidate: ir.Model, fates: Iterable[Fate], *, alone: bool = False) -> Merged:
    """Put `candidate` beside `reference`; both are left as they are.

    Args:
        reference: An fp32 model.
        candidate: A model with the same inputs.
        fates: What became of the reference's tensors in the candidate, where not the same name, scale and layout.
        alone: Also compute what the candidate's operators make of the reference's tensors: each reads, for every float
            tensor that the reference has too, the reference's, and copies of it in other formats are made from that.

    Raises:
        ValidationError: The inputs differ, or a tensor's fate names nothing in the candidate.
    """
    builder = _Builder(reference, candidate, {fate.tensor: fate for fate in fates}, alone)
    return builder.build()


class _Builder:
    def __init__(self, reference: ir.Model, candidate: ir.Model, fates: Mapping[str, Fate], alone: bool) -> None:
        names = [[value.name for value in model.graph.inputs] for model in (reference, candidate)]
        if names[0] != names[1]:
            raise ValidationError(f"the reference has inputs {names[0]}, the candidate {names[1]}")
        self.reference, self.candidate, self.fates = reference, candidate, fates
        self.inputs = [_fresh(value, "") for value in reference.graph.inputs]
        self.weights: list[ir.Value] = []
        self.nodes: list[ir.Node] = []
        self.bound_r = self._bind(reference.graph, REFERENCE)
        self.bound_c = self._bind(candidate.graph, CANDIDATE)
        self.isolation = Isolation(self._alike()) if alone else None
        self.by_name = {str(value.name): value for value in _produced(candidate.graph)}
        self.waiting_r, self.waiting_c = list(reference.graph), list(candidate.graph)
        self.emitted_r = self.emitted_c = 0
        self.alone: dict[ir.Value, ir.Value] = {}
        self.pairs: list[Pair] = []
        self.gaps: dict[str, str] = {}

    def build(self) -> Merged:
        targets = {value: self._counterpart(value) for node in self.waiting_r for value in _float_outputs(node)}
        stands_for = {target: value for value, target in reversed(targets.items()) if target is not None}
        position_r = {value: i for i, node in enumerate(self.waiting_r) for value in node.outputs}
        position_c = {value: i for i, node in enumerate(self.waiting_c) for value in node.outputs}
        needed = [
            max([position_r[stands_for[v]] for v in n.outputs if v in stands_for], default=-1) for n in self.waiting_c
        ]
        for index, node in enumerate(self.waiting_r):
            self._emit_reference(index)
            for value in _float_outputs(node):
                target = targets[value]
                if target is None:
                    continue
                for at in range(self.emitted_c, position_c.get(target, -1) + 1):
                    self._emit_reference(needed[at])
                    self._emit_candidate(at, stands_for)
                self._pair(value, target)
            self.gaps |= _inside(node)
        return Merged(model=self._model(), pairs=tuple(self.pairs), gaps=self.gaps)

    def _emit_reference(self, until: int) -> None:
        """Nodes of the reference up to one of them, so that the candidate's next node finds all tensors there."""
        for node in self.waiting_r[self.emitted_r : until + 1]:
            self._append(template.copy_node(node, self.bound_r, REFERENCE))
        self.emitted_r = max(self.emitted_r, until + 1)

    def _emit_candidate(self, at: int, stands_for: Mapping[ir.Value, ir.Value]) -> None:
        node = self.waiting_c[at]
        self._append(template.copy_node(node, self.bound_c, CANDIDATE))
        self.emitted_c = at + 1
        if self.isolation is None:
            return
        copy = self.isolation.take(node)
        if copy is not None:
            self.nodes.append(copy)
        for value in node.outputs:
            if value in stands_for:
                self.alone[value] = self.isolation.bound[value]
                self.isolation.bound[value] = self._as_candidate(stands_for[value])

    def _append(self, node: ir.Node) -> None:
        self.nodes.append(node)
        if self.isolation is not None:
            self.isolation.remember(node)

    def _alike(self) -> dict[ir.Value, ir.Value]:
        """The candidate's inputs and weights; where the reference has the same weight, the reference's."""
        ours, theirs = self.reference.graph.initializers, self.candidate.graph.initializers
        same = {
            value: self.bound_r[ours[name]]
            for name, value in theirs.items()
            if name in ours and equal_weights(ours[name], value)
        }
        return self.bound_c | same

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
        name, reference = str(value.name), self.bound_r[value]
        alone = None
        if self.isolation is not None:
            made = self.alone.get(target, self.bound_c[target])
            alone = reference if made is reference else self._as_reference(name, made, "alone")
        candidate = self._as_reference(name, self.bound_c[target], "candidate")
        fate = self.fates.get(name)
        if fate is not None and fate.masked is not None:
            same = alone is reference
            reference = self._unmasked(reference, fate.masked, f"{REFERENCE}{name}")
            candidate = self._unmasked(candidate, fate.masked, f"candidate::{name}")
            if alone is not None:
                alone = reference if same else self._unmasked(alone, fate.masked, f"alone::{name}")
        self.pairs.append(Pair(tensor=name, reference=reference, candidate=candidate, alone=alone))

    def _as_reference(self, name: str, made: ir.Value, side: str) -> ir.Value:
        """What the candidate has for tensor `name`, in the reference's scale and layout."""
        fate = self.fates.get(name)
        if fate is None:
            return made
        made = self._scaled(made, fate, -1, f"{side}::{name}")
        if fate.layout is not None:
            inverse = [fate.layout.index(axis) for axis in range(len(fate.layout))]
            sizes = None if made.shape is None else ir.Shape([made.shape[axis] for axis in inverse])
            made = self._add("Transpose", [made], f"{side}::{name}::layout", perm=inverse)
            made.shape = sizes
        return made

    def _unmasked(self, value: ir.Value, masked: float, name: str) -> ir.Value:
        """`value` with zeros where it is masked: there the two sides hold different numbers that mean the same."""
        limit, zero = (
            ir.val(f"{name}::{what}", const_value=ir.tensor(np.array(number, np.float32)))
            for what, number in (("masked_up_to", masked), ("zero", 0.0))
        )
        self.weights += [limit, zero]
        counts = self._add("Greater", [value, limit], f"{name}::counts")
        counts.dtype = ir.DataType.BOOL
        kept = self._add("Where", [counts, value, zero], f"{name}::unmasked")
        kept.shape = value.shape
        return kept

    def _as_candidate(self, value: ir.Value) -> ir.Value:
        """The reference's `value` in the candidate's scale and layout."""
        name, made = str(value.name), self.bound_r[value]
        fate = self.fates.get(name)
        if fate is not None and fate.layout is not None:
            made = self._add("Transpose", [made], f"{REFERENCE}{name}::layout", perm=list(fate.layout))
        return made if fate is None else self._scaled(made, fate, 1, f"{REFERENCE}{name}")

    def _scaled(self, value: ir.Value, fate: Fate, sign: int, name: str) -> ir.Value:
        """`value`, which has the candidate's layout, with the exponents of its fate applied or (-1) taken back."""
        if not (fate.exponent or fate.exponents):
            return value
        channels = np.array(fate.exponents or (0,)) + fate.exponent
        factors = np.ldexp(np.float32(1), sign * channels).reshape(-1, *[1] * (-1 - fate.axis))
        scale = ir.val(f"{name}::exponent", const_value=ir.tensor(factors if fate.exponents else factors.reshape(())))
        self.weights.append(scale)
        scaled = self._add("Mul", [value, scale], f"{name}::scale")
        scaled.shape = value.shape
        return scaled

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
