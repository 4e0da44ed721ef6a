"""What a precision plan costs, counted on the graph: bytes moved, FLOPs, casts, kernels, fused attentions lost.

It is no latency. `Cost.total` adds up, in bytes, what a GPU at its published peak rates would spend its time on:

- **Bytes**: each tensor that leaves its kernel is written once in each format in which it is stored, and read once by
  each kernel that reads it; weights are read once by each kernel, in the format they are stored in. The kernels are
  those of `kernels`, which follow what TensorRT-RTX's plans show.
- **FLOPs** of products (two for each multiply-add) and of elementwise nodes (one for each element), by format, each
  turned into bytes by the published ratio of bandwidth to peak rate (`rates`): so many bytes could have been moved
  meanwhile.
- **Casts** inside a kernel cost one instruction an element. A Cast that its neighbours cannot do while they read or
  write is a kernel that reads and writes the tensor: at a graph input that a product reads, at a graph output that a
  convolution makes, and where a product's epilogue reads another product's low result in fp32. The Casts that ask for
  fp32 sums cost nothing.
- **A lost attention** costs what its scores and probabilities cost to write and to read back.

Kernels are counted and have no weight of their own, because no launch cost is published.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import onnx_ir as ir

from pipeline.core.artifacts import Decision
from pipeline.core.formats import Format
from pipeline.precision import semantics
from pipeline.precision.costing import kernels, work
from pipeline.precision.costing.rates import PREFERRED, RATES, Rates
from pipeline.precision.costing.traffic import Core, Step, Structure, Tally, Tensor, tally
from pipeline.precision.semantics import WEIGHTED, Movement, OpSemantics

UNIT = "byte equivalents"
"""Unit of `Cost.total` where nothing was measured."""

RESOLUTION = 0.01
"""Share of a counted cost below which two plans of one graph are not told apart.

The rates behind it are published peaks, and no launch is counted. Where one of them is taken for a tenth less, which is
less than clocks and kernels' shares of the peak differ by, 20 to 243 of some 20,000 pairs of plans of minilm and of
nanoguard change places, and these are apart by up to 0.6 % to 3.8 %, nine of ten of them by up to 0.4 % to 1.5 %.
"""

_LOOK_UPS = frozenset({"Gather", "GatherND", "GatherElements"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """How long a plan takes on a GPU.

    Attributes:
        latency_ms: Median over many runs.
        spread_ms: Width of the middle half of them: plans that are no further apart are not told apart.
    """

    latency_ms: float
    spread_ms: float

    def __post_init__(self) -> None:
        if not (0 < self.latency_ms < math.inf and 0 <= self.spread_ms < math.inf):
            raise ValueError(f"a latency must be positive and finite, got {self.latency_ms} ± {self.spread_ms} ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a plan costs.

    Attributes:
        counted: Total of what was counted, in `UNIT`.
        bytes: Bytes moved between kernels and memory, by the format that they are stored in.
        flops: FLOPs by what they are done in: `fp32`, `fp16`, `fp16 summed in fp32`, …; `elementwise` apart.
        casts: Cast nodes that the plan puts into the graph.
        conversions: Elements that Casts inside kernels convert.
        cast_kernels: Casts that are kernels of their own.
        kernels: Kernels expected.
        attentions: Attention cores.
        attentions_lost: Those that cannot be one kernel.
        fp32_nodes: Nodes that compute in fp32, data movement and constants apart. One that sums what was low is none:
            its operands are widened only to be summed in fp32.
        uncounted: Tensors and products whose size is not known, so that they count nothing.
        measured: How long it takes, where that was measured.
    """

    counted: float
    bytes: dict[Format, int] = field(default_factory=dict)
    flops: dict[str, int] = field(default_factory=dict)
    casts: int = 0
    conversions: int = 0
    cast_kernels: int = 0
    kernels: int = 0
    attentions: int = 0
    attentions_lost: int = 0
    fp32_nodes: int = 0
    uncounted: int = 0
    measured: Measurement | None = None

    @property
    def total(self) -> float:
        """The one number to compare: measured milliseconds where there are any, else `counted`."""
        return self.counted if self.measured is None else self.measured.latency_ms

    @property
    def unit(self) -> str:
        """Unit of `total`."""
        return UNIT if self.measured is None else "ms"

    @property
    def resolution(self) -> float:
        """How far `total` may be off beside that of another plan of the graph, in `unit`."""
        return RESOLUTION * self.counted if self.measured is None else self.measured.spread_ms

    def ties(self, cheaper: Cost) -> bool:
        """Whether a cheaper plan of the graph may be none: within the resolution, and with no more kernels to launch.

        A measurement has the launches in it.
        """
        near = self.unit == cheaper.unit and self.total - cheaper.total <= max(self.resolution, cheaper.resolution)
        return near and (self.measured is not None or self.kernels <= cheaper.kernels)


class CostModel:
    """Counts what plans of one graph cost; made once, asked often.

    Args:
        model: The fp32 graph; left as it is.
        sizes: Size of each dynamic axis by name, such as the optimum of the profile; an axis not named counts 1.
        rates: Peak rates that weigh FLOPs against bytes.
        tf32: Whether fp32 products may use TF32.
    """

    def __init__(
        self,
        model: ir.Model,
        *,
        sizes: Mapping[str, int] | None = None,
        rates: Rates = RATES[PREFERRED],
        tf32: bool = False,
    ) -> None:
        self._rates, self._tf32 = rates, tf32
        rows = {node: semantics.of(node, model.functions.keys()) for node in model.graph}
        self._structure, self.uncounted = _Preparation(model, rows, sizes or {}).structure()

    def of(self, decisions: Iterable[Decision]) -> Cost:
        """What a plan costs: one decision for each node of the graph, in any order."""
        by_name = {decision.node: decision for decision in decisions}
        counted = tally(self._structure, [by_name[step.name] for step in self._structure.steps])
        return Cost(
            counted=self._total(counted),
            bytes=dict(counted.bytes),
            flops=self._flops(counted),
            casts=counted.casts,
            conversions=counted.conversions,
            cast_kernels=counted.cast_kernels,
            kernels=counted.kernels,
            attentions=len(self._structure.cores),
            attentions_lost=counted.lost,
            fp32_nodes=counted.fp32_nodes,
            uncounted=self.uncounted,
        )

    def _total(self, counted: Tally) -> float:
        """Bytes, and the bytes that could be moved while the rest is computed."""
        instructions = counted.elementwise + 2 * counted.conversions  # a rate counts a multiply-add as two
        seconds = instructions / self._rates.vector + sum(
            flops / self._rates.product(operands, accumulator, tf32=self._tf32)
            for (operands, accumulator), flops in counted.products.items()
        )
        return sum(counted.bytes.values()) + seconds * self._rates.bandwidth

    def _flops(self, counted: Tally) -> dict[str, int]:
        products = Counter(
            {} if not counted.elementwise else {"elementwise": counted.elementwise},
        )
        for (operands, accumulator), flops in counted.products.items():
            wider = accumulator is not None and accumulator is not operands
            products[f"{operands} summed in {accumulator}" if wider else str(operands)] += flops
        return dict(products)


class _Preparation:
    """Reads a graph once."""

    def __init__(self, model: ir.Model, rows: Mapping[ir.Node, OpSemantics], sizes: Mapping[str, int]) -> None:
        self.graph, self.rows = model.graph, rows
        self.shapes = work.shapes(model, sizes)
        self.constant = kernels.constant_nodes(model.graph)
        self.partition = kernels.partition(model.graph, rows, self.constant)
        self.tensors: list[Tensor] = []
        self.index: dict[ir.Value, int] = {}
        self.uncounted = 0

    def structure(self) -> tuple[Structure, int]:
        """The structure, and how many tensors and products have no known size."""
        steps = tuple(self._step(position, node, row) for position, (node, row) in enumerate(self.rows.items()))
        positions = {node: position for position, node in enumerate(self.rows)}
        cores = tuple(
            Core(
                scores=positions[core.scores],
                values=positions[core.values],
                apart={positions[node]: kernel for node, kernel in apart.items()},
            )
            for core, apart in self.partition.cores
        )
        structure = Structure(
            steps=steps,
            tensors=tuple(self.tensors),
            cores=cores,
            products=self.partition.products,
            convolutions=self.partition.convolutions,
        )
        return structure, self.uncounted

    def _step(self, position: int, node: ir.Node, row: OpSemantics) -> Step:
        constant = node in self.constant
        reads = [] if row.movement is Movement.INTEGER else enumerate(node.inputs)
        operands = tuple(
            (self._tensor(value), place in row.fp32_operands)
            for place, value in reads
            if value is not None and value.dtype is ir.DataType.FLOAT and place not in row.index_operands
        )
        results = tuple(
            (self._tensor(value, constant=constant), place in row.fp32_results)
            for place, value in enumerate(node.outputs)
            if value.dtype is ir.DataType.FLOAT
        )
        for index, _ in results:
            self.tensors[index].producer = position
        return Step(
            name=str(node.name),
            weighted=row.op in WEIGHTED,
            sums=row.sums,
            is_cast=node.op_type == "Cast",
            operands=operands,
            results=results,
            flops=0 if constant else self._flops(node, row),
            kernel=self.partition.of.get(node),
            epilogue=node in self.partition.epilogue,
            counts=not constant and row.movement is not Movement.EXACT,
        )

    def _tensor(self, value: ir.Value, *, constant: bool = False) -> int:
        if value not in self.index:
            self.index[value] = len(self.tensors)
            stored = value.is_initializer() and not value.is_graph_input()
            self.tensors.append(
                Tensor(
                    elements=self._elements(value),
                    stored=stored,
                    constant=stored or constant,
                    output=value.is_graph_output(),
                    captured=any(use.node.graph is not self.graph for use in value.uses()),
                )
            )
        return self.index[value]

    def _elements(self, value: ir.Value) -> int:
        """Elements of a tensor; of a table that is only looked up in, those that are looked up."""
        found = work.elements(self.shapes.get(value))
        readers = [use.node for use in value.uses()]
        if value.is_initializer() and readers and all(node.op_type in _LOOK_UPS for node in readers):
            looked_up = [work.elements(self.shapes.get(node.outputs[0])) for node in readers]
            found = min([size for size in (found, max((size or 0) for size in looked_up)) if size], default=None)
        self.uncounted += found is None
        return found or 0

    def _flops(self, node: ir.Node, row: OpSemantics) -> int:
        if row.op in WEIGHTED:
            products = work.multiply_adds(node, self.shapes)
            self.uncounted += products is None
            return 2 * (products or 0)
        if row.movement in (Movement.EXACT, Movement.INTEGER):
            return 0
        values = [value for value in (*node.inputs, *node.outputs) if value is not None]
        return max((work.elements(self.shapes.get(value)) or 0 for value in values), default=0)
