"""Layers of the emulated mixed graph at their worst, and what breaks them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pipeline.analysis.causes import blame, magnitudes
from pipeline.analysis.comparison.compare import compare
from pipeline.analysis.verdict.layers import layers, worse
from pipeline.analysis.verdict.subject import Graphs, Subject
from pipeline.core.artifacts import Cause, Layer, Samples
from pipeline.core.progress import Progress
from pipeline.core.spec import ToleranceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What emulation says of layers.

    Attributes:
        layers: Every float tensor at its worst over the emulations, in graph order.
        causes: What breaks bad layers.
        tried: Emulations that were run: none more once a layer is bad.
    """

    layers: tuple[Layer, ...]
    causes: tuple[Cause, ...]
    tried: tuple[str, ...]


def judged(subject: Subject, graphs: Graphs, samples: Samples, tolerances: ToleranceSpec, progress: Progress) -> Found:
    """Compare every layer with the canonical model over all validation batches."""
    files = samples.validation.batches
    found: tuple[Layer, ...] = ()
    tried: list[str] = []
    for name, candidate in graphs.emulations.items():
        if any(layer.bad for layer in found):
            break
        tried.append(name)
        compared, gaps = compare(
            graphs.reference, candidate, graphs.fates.values(), files, subject.inputs, progress, alone=True
        )
        these = layers(graphs.reference, graphs.mixed, graphs.fates, compared, gaps, tolerances.layer_slack_db)
        found = tuple(worse(one, other) for one, other in zip(found, these, strict=True)) if found else these
    suspected = blame.find(graphs.reference, graphs.mixed, found, subject.low)
    ranges = magnitudes.of_tensors(graphs.reference, suspected.suspects(), subject.low, files, subject.inputs, progress)
    told, causes = blame.told(suspected, ranges)
    return Found(layers=told, causes=causes, tried=tuple(tried))


def not_tried(possible: Iterable[str], tried: Sequence[str]) -> Iterator[str]:
    """Emulations that could only make a failing verdict worse."""
    for name in possible:
        if name not in tried:
            yield f"{name}: it fails as '{tried[0]}' already"
