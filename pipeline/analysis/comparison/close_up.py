"""Single tensors close up: the arrays themselves, of the reference and of the candidate, batch by batch.

Only the tensors asked for and what their nodes read leave the graph, and everything that nothing of it needs is not
computed. One batch of them is in memory at a time.
"""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from pipeline.analysis import batches
from pipeline.analysis.comparison.elements import Elements, elements_of, samples, stack_of
from pipeline.analysis.comparison.histograms import Histogram, Magnitudes, Values, alike
from pipeline.analysis.comparison.taps import shape_of
from pipeline.backends.comparator import agrees
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import ErrorStats, Fate, Injected
from pipeline.core.errors import ValidationError
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec, ToleranceSpec
from pipeline.graph import modules
from pipeline.precision.reducers.differences import Difference
from pipeline.precision.reducers.side_by_side import Merged, Pair, merge

Array = npt.NDArray[Any]

WORST = 10
"""Elements that are listed."""

NEAREST = 5
"""Names that are offered for one that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """One element of a tensor.

    Attributes:
        batch: Index of the batch.
        index: Its place in the tensor.
        reference: Its value in the reference.
        candidate: Its value in the candidate.
        alone: What the candidate's node makes of the reference's operands.
    """

    batch: int
    index: tuple[int, ...]
    reference: float
    candidate: float
    alone: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseUp:
    """One tensor close up. Figures are over elements that no mask excludes.

    Attributes:
        tensor: Its name in the reference.
        node: Node that makes it.
        op: Operator type of that node.
        module: Path of its `nn.Module`.
        operands: Float tensors that the node reads, saved beside it.
        shapes: Its shape in each batch.
        passed: Whether Polygraphy's comparator accepts every batch.
        criterion: What the comparator was asked, in words.
        stats: How the candidate differs.
        injected: What the node alone adds.
        reference: Values of the reference.
        candidate: Values of the candidate, in the same bins.
        error: Magnitudes of the difference, by power of two.
        worst: Elements that differ most, the worst first; what is not finite in one alone before all others.
        file: The arrays: `batch_0000.reference`, `.candidate`, `.alone`, and `.operand_0.reference`, …
    """

    tensor: str
    node: str
    op: str
    module: str
    operands: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    passed: bool
    criterion: str
    stats: ErrorStats
    injected: Injected
    reference: Histogram
    candidate: Histogram
    error: Histogram
    worst: tuple[Element, ...]
    file: Path


def close_up(
    reference: ir.Model,
    candidate: ir.Model,
    fates: Iterable[Fate],
    wanted: Sequence[str],
    files: Sequence[Path],
    inputs: Mapping[str, InputSpec],
    tolerances: ToleranceSpec,
    folder: Path,
    progress: Progress,
) -> tuple[CloseUp, ...]:
    """Look at tensors themselves over all batches.

    Args:
        reference: An fp32 model.
        candidate: A model with the same inputs, in fp32 (an emulated graph).
        fates: What became of the reference's tensors in the candidate.
        wanted: Names of tensors of the reference, of nodes, which stand for their float results, or of modules, which
            stand for the last of theirs.
        files: Batches.
        inputs: Graph inputs, with the axes that they mask.
        tolerances: Those of outputs are used.
        folder: Existing folder that gets one `.npz` a tensor.
        progress: Told of each batch.

    Raises:
        ValidationError: A name is not there, or its tensor has no counterpart.
    """
    merged = merge(reference, candidate, fates, alone=True)
    pairs = {pair.tensor: pair for pair in merged.pairs}
    names = _resolve(wanted, reference.graph, pairs, merged)
    makers = {str(value.name): node for node in reference.graph for value in node.outputs}
    looks = [_Look.of(makers[name], pairs, name, inputs, folder) for name in names]
    session = _session(merged, [pair for look in looks for pair in (look.pair, *look.operands)])
    fed = [str(value.name) for value in reference.graph.inputs]
    stack, first = stack_of(inputs), 0
    with ExitStack() as open_files:
        archives = [open_files.enter_context(zipfile.ZipFile(look.file, "w", zipfile.ZIP_STORED)) for look in looks]
        for index, file in enumerate(files):
            feeds = batches.read(file, fed)
            arrays = feeds | session({name: feeds[name] for name in session.inputs})
            for look, archive in zip(looks, archives, strict=True):
                look.take(index, first, arrays, feeds, tolerances)
                look.save(archive, index, arrays)
            first += samples(stack, feeds)
            progress.advance("batches close up", index + 1, len(files))
    return tuple(look.result(tolerances) for look in looks)


def _resolve(wanted: Sequence[str], graph: ir.Graph, pairs: Mapping[str, Pair], merged: Merged) -> list[str]:
    """The tensors that names stand for, each once."""
    of_nodes = {str(node.name): [str(v.name) for v in node.outputs if v.name in pairs] for node in graph}
    ends: dict[str, list[str]] = {}
    for node in graph:
        if tensors := of_nodes[str(node.name)]:
            ends |= dict.fromkeys(modules.within(modules.module_of(node)), tensors[-1:])
    found: dict[str, None] = {}
    for name in wanted:
        chosen = [name] if name in pairs else of_nodes.get(name) or ends.get(name)
        if name in merged.gaps:
            raise ValidationError(f"it has nothing to be compared with: {merged.gaps[name]}", where=f"layer {name}")
        if not chosen:
            near = difflib.get_close_matches(name, [*pairs, *of_nodes, *ends], n=NEAREST, cutoff=0.3)
            hint = f"nearest: {', '.join(dict.fromkeys(near))}" if near else "report.html lists all of them"
            raise ValidationError("no float tensor, node or module has this name", where=f"layer {name}", hint=hint)
        found |= dict.fromkeys(chosen)
    return list(found)


def _session(merged: Merged, pairs: Sequence[Pair]) -> Session:
    """The graph of both with nothing but these pairs for outputs, and without what they do not need."""
    graph = merged.model.graph
    graph.outputs.clear()
    values = dict.fromkeys(value for pair in pairs for value in _sides(pair).values())
    graph.outputs.extend(value for value in values if value.producer() is not None)
    RemoveUnusedNodesPass()(merged.model)
    return Session(merged.model, as_written=True)


def _sides(pair: Pair) -> dict[str, ir.Value]:
    return {"reference": pair.reference, "candidate": pair.candidate, "alone": pair.alone or pair.reference}


@dataclass(slots=True, kw_only=True)
class _Look:
    """One tensor so far."""

    pair: Pair
    node: ir.Node
    operands: tuple[Pair, ...]
    elements: Elements
    file: Path
    difference: Difference = field(default_factory=Difference)
    own: Difference = field(default_factory=Difference)
    agrees: bool = True
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    values: tuple[Values, Values] = field(default_factory=lambda: (Values(), Values()))
    error: Magnitudes = field(default_factory=Magnitudes)
    worst: list[tuple[float, Element]] = field(default_factory=list)

    @classmethod
    def of(
        cls, node: ir.Node, pairs: Mapping[str, Pair], name: str, inputs: Mapping[str, InputSpec], folder: Path
    ) -> _Look:
        read = dict.fromkeys(str(value.name) for value in node.inputs if value is not None)
        safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in name)
        return cls(
            pair=pairs[name],
            node=node,
            operands=tuple(pairs[operand] for operand in read if operand in pairs),
            elements=elements_of(shape_of(pairs[name].reference), inputs),
            file=folder / f"{safe}.npz",
        )

    def take(
        self,
        batch: int,
        first: int,
        arrays: Mapping[str, Array],
        feeds: Mapping[str, Array],
        tolerances: ToleranceSpec,
    ) -> None:
        """Count one batch, whose first sample has this index."""
        sides = [arrays[str(value.name)] for value in _sides(self.pair).values()]
        if sides[0].shape != sides[1].shape:
            shapes = f"the reference has shape {list(sides[0].shape)}, the candidate {list(sides[1].shape)}"
            raise ValidationError(shapes, where=f"tensor {self.pair.tensor}")
        mask = self.elements.mask
        keep = np.broadcast_to(True if mask is None else mask.array(feeds), sides[0].shape)
        one, other = sides[0][keep], sides[1][keep]
        self.shapes.append(sides[0].shape)
        self.agrees &= agrees(one, other, atol=tolerances.output_atol, rtol=tolerances.output_rtol)
        self.difference = self.difference.merge(self.elements.difference(feeds, sides[0], sides[1], first))
        self.own = self.own.merge(self.elements.difference(feeds, sides[0], sides[2], first))
        for values, array in zip(self.values, (one, other), strict=True):
            values.add(array)
        self.error.add(_distance(one, other))
        self.worst = sorted([*self.worst, *_worst(batch, sides, keep)], key=lambda item: -item[0])[:WORST]

    def save(self, archive: zipfile.ZipFile, batch: int, arrays: Mapping[str, Array]) -> None:
        """Append one batch's arrays."""
        named = _sides(self.pair)
        for position, pair in enumerate(self.operands):
            sides = _sides(pair)
            named |= {f"operand_{position}.{side}": sides[side] for side in ("reference", "candidate")}
        for name, value in named.items():
            with archive.open(f"batch_{batch:04d}.{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, arrays[str(value.name)], allow_pickle=False)

    def result(self, tolerances: ToleranceSpec) -> CloseUp:
        reference, candidate = alike(*self.values)
        return CloseUp(
            tensor=self.pair.tensor,
            node=str(self.node.name),
            op=self.node.op_type,
            module=modules.module_of(self.node),
            operands=tuple(pair.tensor for pair in self.operands),
            shapes=tuple(self.shapes),
            passed=self.agrees,
            criterion=(
                f"Polygraphy's comparator, each element within atol {tolerances.output_atol:g} "
                f"or rtol {tolerances.output_rtol:g}"
            ),
            stats=self.difference.stats(),
            injected=self.own.injected(),
            reference=reference,
            candidate=candidate,
            error=self.error.histogram(),
            worst=tuple(element for _, element in self.worst),
            file=self.file,
        )


def _distance(one: Array, other: Array) -> Array:
    """The absolute difference in double precision; 0 for the same infinity."""
    with np.errstate(invalid="ignore"):
        return np.where(one == other, 0.0, np.abs(other.astype(np.float64) - one.astype(np.float64)))


def _worst(batch: int, sides: Sequence[Array], keep: Array) -> Iterator[tuple[float, Element]]:
    """The elements of one batch that differ most."""
    one, other, alone = sides
    score = np.where(keep, _distance(one, other), 0.0).reshape(-1)
    score = np.where(np.isnan(score), np.inf, score)
    most = min(WORST, score.size)
    for place in np.argpartition(-score, most - 1)[:most] if most else ():
        index = tuple(int(at) for at in np.unravel_index(int(place), one.shape))
        if score[place] > 0:
            yield (
                float(score[place]),
                Element(
                    batch=batch,
                    index=index,
                    reference=float(one[index]),
                    candidate=float(other[index]),
                    alone=float(alone[index]),
                ),
            )
