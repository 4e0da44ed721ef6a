"""What one precision plan moves, converts and computes, on a graph whose kernels are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.core.artifacts import Decision
from pipeline.core.formats import Format

Copy = tuple[int, Format]
"""A tensor in one format."""

_LOW = frozenset({Format.FP16, Format.BF16})


@dataclass(slots=True, kw_only=True)
class Step:
    """One node, prepared.

    Attributes:
        name: Its name.
        weighted: Whether it is a product, as tensor cores run it.
        sums: Whether it sums products or elements.
        is_cast: Whether the graph itself casts here.
        operands: Float operands, each with whether it stays fp32 whatever the node's format.
        results: Float results, likewise.
        flops: What it computes.
        kernel: Its kernel where every attention is one; None where it is folded before, or on the host.
        epilogue: Whether it follows a product in the product's kernel.
        counts: Whether it computes on what depends on an input: it is neither data movement nor constant.
    """

    name: str
    weighted: bool
    sums: bool
    is_cast: bool
    operands: tuple[tuple[int, bool], ...]
    results: tuple[tuple[int, bool], ...]
    flops: int
    kernel: int | None
    epilogue: bool
    counts: bool


@dataclass(slots=True, kw_only=True)
class Tensor:
    """One float tensor, prepared.

    Attributes:
        elements: How many; of a table that is only looked up in, how many are looked up.
        producer: Position of the node that makes it, or None.
        stored: Whether it is an initializer, which is stored in whatever format reads it.
        constant: Whether it is the same for every input.
        output: Whether it is a graph output, which is fp32.
        captured: Whether a subgraph reads it, always in fp32.
    """

    elements: int
    producer: int | None = None
    stored: bool
    constant: bool
    output: bool
    captured: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """An attention: positions of its two products, and the kernels of its nodes where it is not one kernel."""

    scores: int
    values: int
    apart: dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A graph, prepared."""

    steps: tuple[Step, ...]
    tensors: tuple[Tensor, ...]
    cores: tuple[Core, ...]
    products: frozenset[int]
    convolutions: frozenset[int]


@dataclass(slots=True, kw_only=True)
class Tally:
    """What was counted, in the terms of `cost.Cost`.

    Attributes:
        products: FLOPs of products by the formats of their operands and of their accumulator.
        elementwise: FLOPs of all other nodes.
    """

    bytes: Counter[Format] = field(default_factory=Counter)
    products: Counter[tuple[Format, Format | None]] = field(default_factory=Counter)
    elementwise: int = 0
    casts: int = 0
    conversions: int = 0
    cast_kernels: int = 0
    kernels: int = 0
    lost: int = 0
    fp32_nodes: int = 0


def tally(structure: Structure, decisions: Sequence[Decision]) -> Tally:
    """Count one plan: `decisions` are those of `structure.steps`, in that order."""
    return _Walk(structure, decisions).run()


@dataclass(frozen=True, slots=True)
class _Demand:
    """A kernel reads a tensor: in a format that it cannot convert to while it reads, where `rigid`."""

    kernel: int
    wanted: Format
    rigid: bool
    epilogue: bool


class _Walk:
    def __init__(self, structure: Structure, decisions: Sequence[Decision]) -> None:
        self.structure = structure
        self.steps, self.tensors, self.decisions = structure.steps, structure.tensors, decisions
        self.kernel = [step.kernel for step in self.steps]
        self.held = [Format.FP32] * len(self.tensors)
        self.low: set[int] = set()
        self.demands: dict[int, list[_Demand]] = {}
        self.copies: set[tuple[object, Format]] = set()
        self.converted: set[Copy] = set()
        self.fused: dict[int, Format] = {}
        self.found = Tally()

    def run(self) -> Tally:
        self._break_attentions()
        for position, (step, decision) in enumerate(zip(self.steps, self.decisions, strict=True)):
            self._read(position, step, decision)
            self._write(step, decision)
            self._compute(position, step, decision)
        for index, tensor in enumerate(self.tensors):
            if tensor.output or index in self.demands:
                self._move(index, self.demands.get(index, []))
        self.found.kernels = len({kernel for kernel in self.kernel if kernel is not None}) + self.found.cast_kernels
        return self.found

    def _break_attentions(self) -> None:
        for core in self.structure.cores:
            formats = {low for product in (core.scores, core.values) for low in self._fed(product)}
            if len(formats) == 1 and formats <= _LOW:
                self.fused |= dict.fromkeys((core.scores, core.values), formats.pop())
                continue
            self.found.lost += 1
            for position, kernel in core.apart.items():
                self.kernel[position] = kernel

    def _fed(self, product: int) -> set[Format]:
        """Formats of the operands of a product, Casts that only widen looked through."""
        wanted = self.decisions[product].operands or Format.FP32
        return {
            wanted if wanted in _LOW else self._result(self.tensors[index].producer)
            for index, _ in self.steps[product].operands
        }

    def _result(self, producer: int | None) -> Format:
        return Format.FP32 if producer is None else self.decisions[producer].result or Format.FP32

    def _compute(self, position: int, step: Step, decision: Decision) -> None:
        if position in self.fused:  # the fused kernel sums in fp32 by itself
            self.found.products[self.fused[position], Format.FP32] += step.flops
        elif step.weighted:
            self.found.products[decision.operands or Format.FP32, decision.accumulator] += step.flops
        else:
            self.found.elementwise += step.flops
        wide = (decision.operands or decision.result) is Format.FP32
        self.found.fp32_nodes += step.counts and wide and not self._only_sums(step)

    def _only_sums(self, step: Step) -> bool:
        """Whether all that a node sums was low: in the graph it is then a low one that sums in fp32."""
        return step.sums and bool(step.operands) and all(index in self.low for index, _ in step.operands)

    def _read(self, position: int, step: Step, decision: Decision) -> None:
        kernel, operands = self.kernel[position], decision.operands or Format.FP32
        accumulator = operands if step.is_cast else decision.accumulator or operands
        for index, exact in step.operands:
            wanted, summed = (Format.FP32, Format.FP32) if exact else (operands, accumulator)
            self._cast(index, wanted, summed, step)
            wanted = self.fused.get(position, wanted)
            if kernel is None:
                continue
            if self._kernel_of(index) == kernel:
                self._convert(index, wanted)
            else:
                demand = _Demand(kernel, wanted, step.weighted and not exact, step.epilogue)
                self.demands.setdefault(index, []).append(demand)

    def _cast(self, index: int, wanted: Format, summed: Format, step: Step) -> None:
        """Count the Cast nodes that `casts.apply` puts before an operand."""
        tensor, held = self.tensors[index], self.held[index]
        source: object = index
        if wanted not in (Format.FP32, held):
            self._copy(source, wanted, free=tensor.stored)
            source, held = (index, wanted), wanted
        if summed is held:
            return
        if wanted is not summed and step.weighted:
            self._copy((source, step.name), summed, free=False)
        else:
            self._copy(source, summed, free=tensor.stored and held is Format.FP32)

    def _copy(self, source: object, target: Format, *, free: bool) -> None:
        if (source, target) not in self.copies:
            self.copies.add((source, target))
            self.found.casts += not free

    def _write(self, step: Step, decision: Decision) -> None:
        for index, exact in step.results:
            if exact:
                continue
            tensor, result = self.tensors[index], decision.result or Format.FP32
            computed = result if step.is_cast else (decision.accumulator or decision.operands or result)
            self.held[index] = result
            if {computed, result} & _LOW:
                self.low.add(index)
            if computed is not result:
                self.found.casts += 1
                if not step.weighted and step.kernel is not None:
                    self.found.conversions += tensor.elements
                if result is Format.FP32:
                    self.copies |= {(index, computed), ((index, computed), Format.FP32)}
            if result is not Format.FP32 and (tensor.output or tensor.captured):
                self._copy(index, Format.FP32, free=False)

    def _kernel_of(self, index: int) -> int | None:
        producer = self.tensors[index].producer
        return None if producer is None else self.kernel[producer]

    def _convert(self, index: int, wanted: Format) -> None:
        """A Cast inside a kernel, done once however many nodes read it."""
        if wanted is not self.held[index] and (index, wanted) not in self.converted:
            self.converted.add((index, wanted))
            self.found.conversions += self.tensors[index].elements

    def _move(self, index: int, demands: list[_Demand]) -> None:
        tensor = self.tensors[index]
        if tensor.constant:
            for _, wanted in {(demand.kernel, demand.wanted) for demand in demands}:
                self.found.bytes[wanted] += tensor.elements * wanted.limits.bytes
            return
        copies = self._copies(index, demands)
        if self._kernel_of(index) is not None:
            for format_ in copies:
                self.found.bytes[format_] += tensor.elements * format_.limits.bytes
                self._convert(index, format_)
        for _, format_ in {(demand.kernel, self._source(index, demand, copies)) for demand in demands}:
            self.found.bytes[format_] += tensor.elements * format_.limits.bytes

    def _copies(self, index: int, demands: list[_Demand]) -> set[Format]:
        """Formats in which a tensor is stored between kernels; Casts that are kernels are counted on the way."""
        held, made = self.held[index], self._kernel_of(index)
        alone = {demand.wanted for demand in demands if self._needs_kernel(demand, held, made)}
        for wanted in alone:
            self.found.cast_kernels += 1
            self.found.bytes[held] += self.tensors[index].elements * held.limits.bytes
            self.found.bytes[wanted] += self.tensors[index].elements * wanted.limits.bytes
        written = {demand.wanted for demand in demands if demand.rigid} - alone
        if self.tensors[index].output:
            written |= self._returned(index)
        if alone or any(demand.wanted is held for demand in demands if not demand.rigid):
            written.add(held)
        for demand in demands:
            if not demand.rigid and demand.wanted not in written | alone and held not in written:
                written.add(held if held in _LOW else demand.wanted)
        return written

    def _returned(self, index: int) -> set[Format]:
        """What the kernel of a graph output writes: fp32, but for a convolution, whose low result a kernel casts."""
        held, elements = self.held[index], self.tensors[index].elements
        if held is Format.FP32 or self._kernel_of(index) not in self.structure.convolutions:
            return {Format.FP32}
        self.found.cast_kernels += 1
        self.found.bytes[held] += elements * held.limits.bytes
        self.found.bytes[Format.FP32] += elements * Format.FP32.limits.bytes
        return {held}

    def _needs_kernel(self, demand: _Demand, held: Format, made: int | None) -> bool:
        if demand.wanted is held:
            return False
        if made is None:
            return demand.rigid
        return demand.epilogue and demand.wanted is Format.FP32 and made in self.structure.products

    def _source(self, index: int, demand: _Demand, copies: set[Format]) -> Format:
        """The format in which a kernel reads a tensor."""
        held = self.held[index]
        made = self._kernel_of(index)
        if demand.rigid or demand.wanted in copies or self._needs_kernel(demand, held, made):
            return demand.wanted
        if demand.wanted is not held:
            self.found.conversions += self.tensors[index].elements
        return held if made is None or held in copies else next(iter(copies))
