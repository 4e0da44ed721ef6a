"""Sample sets: which samples of a data set, and how they are written as batches."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from pipeline.core.artifacts import SampleSet
from pipeline.core.progress import Progress
from pipeline.data import batches, files, readers
from pipeline.data.samples import Request, Sample


def choose(samples: Iterable[Sample], count: int, seed: int | None) -> list[Sample]:
    """`count` samples in their order, or all where there are fewer: the first, or a random choice.

    A random choice reads all of `samples` and holds `count` of them (reservoir sampling, algorithm R).

    Args:
        samples: The samples to choose from.
        count: How many.
        seed: Seed of the choice; None for the first ones.
    """
    if seed is None:
        return list(islice(samples, count))
    chance = random.Random(seed)  # noqa: S311 (no secret)
    kept: list[tuple[int, Sample]] = []
    for position, sample in enumerate(samples):
        if position < count:
            kept.append((position, sample))
        elif (place := chance.randrange(position + 1)) < count:
            kept[place] = (position, sample)
    return [sample for _, sample in sorted(kept, key=lambda item: item[0])]


def write(samples: Iterable[Sample], size: int, source: Request, folder: Path, progress: Progress) -> SampleSet:
    """Write samples as padded batches into a new folder.

    Args:
        samples: The samples, held to the spec.
        size: Samples a batch, at most.
        source: Where they come from.
        folder: The folder to make.
        progress: Told of every batch, and warned where a mask input never masks anything.

    Raises:
        CalibrationError: Samples of one batch do not fit together.
    """
    folder.mkdir()
    paths: list[Path] = []
    count, padded = 0, False
    fill = readers.fill(source)
    for group in batches.groups(samples, size, source.axes):
        batch = batches.stack(group, source.inputs, source.axes, fill)
        paths.append(files.write(folder, len(paths), batch))
        count, padded = count + len(group), padded or batches.padded(batch, source.inputs)
        progress.advance(f"samples ({folder.name})", count)
    if any(spec.masks for spec in source.inputs.values()) and not padded:
        progress.warn(f"{source.name}: no {folder.name} batch holds padding, so what the mask hides is never seen")
    return SampleSet(batches=tuple(paths), samples=count, source=source.name, licence=source.data.licence)
