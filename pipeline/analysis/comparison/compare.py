"""Every float tensor of a reference against its counterpart in a candidate, in one session, reduced in the graph."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.analysis import batches
from pipeline.analysis.comparison.elements import samples, stack_of
from pipeline.analysis.comparison.taps import ALONE, KEPT, ROWS, tap
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Fate
from pipeline.core.errors import ValidationError
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec
from pipeline.precision.reducers import pair_reducers
from pipeline.precision.reducers.differences import Difference
from pipeline.precision.reducers.instrument import results
from pipeline.precision.reducers.side_by_side import Merged, Pair, merge

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How one tensor differs.

    Attributes:
        kept: Over the elements that no mask excludes.
        everything: Over all elements, by batch; None where no mask covers the tensor.
        alone: Like `kept`, of what its node makes of the reference's tensors; None where it was not asked for.
    """

    kept: Difference
    everything: Difference | None = None
    alone: Difference | None = None


def compare(
    reference: ir.Model,
    candidate: ir.Model,
    fates: Iterable[Fate],
    files: Sequence[Path],
    inputs: Mapping[str, InputSpec],
    progress: Progress,
    *,
    alone: bool = False,
) -> tuple[dict[str, Compared], dict[str, str]]:
    """Compare every float tensor of `reference` over all batches.

    Args:
        reference: An fp32 model.
        candidate: A model with the same inputs, in fp32 (an emulated graph).
        fates: What became of the reference's tensors in the candidate.
        files: Batches.
        inputs: Graph inputs, with the axes that they mask.
        progress: Told of each batch.
        alone: Also compare what each node makes of the reference's own tensors.

    Returns:
        Differences by tensor name, and the tensors that were not compared, each with the reason.

    Raises:
        ValidationError: A tensor has no counterpart and no fate, or another shape.
    """
    fates = tuple(fates)
    first = _Look(merge(reference, candidate, fates, alone=alone), inputs)
    found, special = first.over(files, progress)
    if special:
        deeper = any(key.endswith(ALONE) for key in special)
        second = _Look(merge(reference, candidate, fates, alone=deeper), inputs, special)
        found |= second.over(files, progress)[0]
    pairs = {pair.tensor: _compared(pair, found) for pair in first.merged.pairs}
    return pairs, first.merged.gaps


class _Look:
    """One session over both graphs."""

    def __init__(self, merged: Merged, inputs: Mapping[str, InputSpec], only: frozenset[str] | None = None) -> None:
        self.merged, self.exact = merged, only is not None
        self.names = [str(value.name) for value in merged.model.graph.inputs]
        self.stack = stack_of(inputs)
        self.tapped = tap(merged, inputs, only=only)
        self.session = Session(merged.model, as_written=True)

    def over(self, files: Sequence[Path], progress: Progress) -> tuple[dict[str, Difference], frozenset[str]]:
        """Differences over all batches, and the taps that held non-finite elements."""
        found: dict[str, Difference] = defaultdict(Difference)
        special: set[str] = set()
        first = 0
        for index, file in enumerate(files):
            feeds = batches.read(file, self.names)
            count = samples(self.stack, feeds)
            keep = {mask.name: mask.array(feeds) for mask in self.tapped.masks.values()}
            added: Arrays = {name: array.astype(self.tapped.kind) for name, array in keep.items()}
            added[ROWS] = np.array([count, -1])
            arrays = self.session(feeds | {name: added[name] for name in self.session.inputs if name in added})
            shares = {key: float(np.mean(keep[mask.name])) for key, mask in self.tapped.masks.items()}
            for key, part in self._parts(arrays, first, count, shares):
                if part is None:
                    special.add(key)
                else:
                    found[key] = found[key].merge(part)
            first += count
            progress.advance("validation batches", index + 1, len(files))
        return dict(found), frozenset(special)

    def _parts(
        self, arrays: Arrays, first: int, count: int, shares: Mapping[str, float]
    ) -> Iterator[tuple[str, Difference | None]]:
        groups = self.tapped.groups
        of_pairs = {key: found for how, keys in groups for key, found in results(how, keys, arrays).items()}
        if self.exact:
            of_pairs |= results(pair_reducers.full, self.tapped.alone, arrays)
        for key, outputs in of_pairs.items():
            yield key, _read(key, outputs, first, count, shares.get(key, 1.0))
        if not self.exact:
            for key, outputs in results(pair_reducers.brief, self.tapped.alone, arrays).items():
                name = key.removesuffix(ALONE)
                of_first = of_pairs.get(name + KEPT, of_pairs[name])
                yield key, pair_reducers.read_brief(outputs, of_first, share=shares.get(key, 1.0))


def _read(key: str, outputs: list[Any], first: int, count: int, share: float) -> Difference | None:
    try:
        return pair_reducers.read(outputs, first=first, count=count, share=share)
    except ValidationError as error:
        raise ValidationError(error.what, where=f"tensor {key.removesuffix(KEPT)}") from error


def _compared(pair: Pair, found: Mapping[str, Difference]) -> Compared:
    everything, kept = found[pair.tensor], found.get(pair.tensor + KEPT)
    counted = everything if kept is None else kept
    alone = None if pair.alone is None else found.get(pair.tensor + ALONE, _no_error(counted))
    return Compared(kept=counted, everything=None if kept is None else everything, alone=alone)


def _no_error(like: Difference) -> Difference:
    return Difference(elements=like.elements, signal=like.signal, power=like.signal)
