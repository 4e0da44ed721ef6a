"""Extremes run through the mixed graph: does anything become NaN or infinite that the fp32 model keeps finite."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from pipeline.analysis.batches import Arrays
from pipeline.analysis.verdict.extreme_inputs import Case, cases, named
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Extreme, Fate
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.graph import modules
from pipeline.precision.reducers.differences import between
from pipeline.precision.reducers.instrument import Reducer, Tap, as_float, attach, results

FINITE = Reducer(
    body="""
Finite (x) => (odd) {
    gap = Sub(x, x)
    odd = ReduceSum <keepdims = 0> (gap)
}
""",
    constants={},
    outputs=(ir.DataType.FLOAT,),
)
"""Zero where every element is finite, else NaN: x - x is NaN for NaN and for infinities, and a sum keeps NaN."""


def tried(
    reference: ir.Model,
    emulated: ir.Model,
    fates: Iterable[Fate],
    inputs: Mapping[str, InputSpec],
    axes: Mapping[str, AxisRange],
    files: Sequence[Path],
    progress: Progress,
) -> tuple[Extreme, ...]:
    """Run every extreme through both graphs.

    Args:
        reference: The fp32 model.
        emulated: The mixed graph with its roundings, in fp32.
        fates: What became of the reference's tensors in it.
        inputs: Graph inputs.
        axes: Sizes of every dynamic axis.
        files: Batches, from which ordinary values are taken.
        progress: Told of each extreme.
    """
    found = tuple(cases(reference.graph, inputs, axes, files))
    if not found:
        return ()
    there = _values(emulated)
    places = {name: place for name, place in _places(reference, fates).items() if place.now in there}
    names = list(places)
    mixed = _Watched(emulated, [places[name].now for name in names])
    looked = [mixed(case.feeds) for case in found]
    suspects = sorted({name for odd, _ in looked for name in names if places[name].now in odd})
    wide = _Watched(reference, suspects)
    made = []
    for index, (case, (odd, outputs)) in enumerate(zip(found, looked, strict=True)):
        also, expected = wide(case.feeds)
        broken = [name for name in names if places[name].now in odd and name not in also]
        made.append(_told(case, inputs, [places[name] for name in broken], expected, outputs))
        progress.advance("extremes", index + 1, len(found))
    return tuple(made)


class _Place:
    """A tensor of the reference and what stands for it in the mixed graph."""

    def __init__(self, name: str, now: str, node: ir.Node) -> None:
        self.name, self.now, self.node = name, now, node

    @property
    def words(self) -> str:
        """The tensor, its operator and its module."""
        module = modules.module_of(self.node)
        return f"{self.name} ({self.node.op_type}{' in ' + module if module else ''})"


def _places(reference: ir.Model, fates: Iterable[Fate]) -> dict[str, _Place]:
    """Float tensors of the main graph, in graph order, less those that are gone."""
    moved = {fate.tensor: fate.now for fate in fates}
    found = {}
    for node in reference.graph:
        for value in node.outputs:
            name = str(value.name)
            now = moved.get(name, name)
            if value.dtype is ir.DataType.FLOAT and now is not None:
                found[name] = _Place(name, now, node)
    return found


def _values(model: ir.Model) -> dict[str, ir.Value]:
    return {str(value.name): value for node in model.graph for value in node.outputs if value.name}


class _Watched:
    """A copy of a model that gives its outputs, and the names of tensors that held NaN or infinities."""

    def __init__(self, original: ir.Model, watched: Collection[str]) -> None:
        model = original.clone()
        values = _values(model)
        self.watched = list(dict.fromkeys(watched))
        self.outputs = [str(value.name) for value in model.graph.outputs]
        taps = [Tap(key=name, values=(as_float(model, values[name]),)) for name in self.watched]
        attach(model, FINITE, taps, beside=True)
        self.session = Session(model, as_written=bool(taps))

    def __call__(self, feeds: Arrays) -> tuple[frozenset[str], Arrays]:
        """Names of tensors that were not finite throughout, and the outputs."""
        arrays = self.session({name: feeds[name] for name in self.session.inputs})
        found = results(FINITE, self.watched, arrays)
        odd = frozenset(name for name, (total,) in found.items() if not np.isfinite(total))
        return odd, {name: arrays[name] for name in self.outputs}


def _told(
    case: Case, inputs: Mapping[str, InputSpec], broken: list[_Place], expected: Arrays, outputs: Arrays
) -> Extreme:
    alike = [name for name in expected if expected[name].size > 0 and expected[name].shape == outputs[name].shape]
    stats = [between(expected[name], outputs[name]).stats() for name in alike]
    return Extreme(
        name=case.name,
        inputs=named(case, inputs),
        broken=len(broken),
        first=broken[0].words if broken else None,
        sqnr_db=min((item.sqnr_db for item in stats), default=None),
        note=case.note,
    )
