"""Samples that a search sees, and samples that it never sees.

It sees calibration samples. Held out are the validation samples, for outputs, and the task's, for the metric. Where a
set is so small that the same sample stands in several, it belongs to the validation samples first and is not seen; of
the task's samples those are left out that the search saw. What is the same sample is told by its content, padding
apart.

What the search sees is run for every plan, so samples that one of another size would pad are not run together: of eight
sentences, the longest 400 tokens, that saves four fifths of the work. Padding is met when a plan is confirmed: batches
of the validation set are run as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.analysis import batches
from pipeline.analysis.bisection import single_samples
from pipeline.core import digest
from pipeline.core.artifacts import Samples, SampleSet
from pipeline.core.errors import CalibrationError
from pipeline.core.spec import InputSpec

ALIKE = 2.0
"""How many times the elements of the smallest sample of a batch, its padding apart, the largest may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """The two sides.

    Attributes:
        seen: Batches that the search may look at, each of samples of about one size.
        seen_samples: Samples in them.
        validation: Batches for outputs.
        validation_samples: Samples in them.
        task: Labelled batches for the task metric; empty where there is none.
        task_samples: Samples in them.
    """

    seen: tuple[Path, ...]
    seen_samples: int
    validation: tuple[Path, ...]
    validation_samples: int
    task: tuple[Path, ...]
    task_samples: int


def divide(samples: Samples, inputs: Mapping[str, InputSpec], most: int, folder: Path) -> HeldOut:
    """Divide what a run has.

    Args:
        samples: Its sets.
        inputs: Graph inputs.
        most: Samples that the search sees at most, the first ones.
        folder: Receives batches that lie on neither side whole.

    Raises:
        CalibrationError: No calibration sample is left that is not held out.
    """
    validation = {key for file in samples.validation.batches for key in _keys(file, inputs)}
    seen, keys = _seen(samples.calibration.batches, inputs, validation, most, folder)
    if not seen:
        raise CalibrationError(
            "every calibration sample is a validation sample too, so that nothing is left to search on",
            where=samples.calibration.source,
            hint="bring more samples, or lower calibration.validate_samples",
        )
    task, count = _unseen(samples.task, inputs, keys, folder)
    return HeldOut(
        seen=seen,
        seen_samples=len(keys),
        validation=samples.validation.batches,
        validation_samples=samples.validation.samples,
        task=task,
        task_samples=count,
    )


def _seen(
    files: Sequence[Path], inputs: Mapping[str, InputSpec], apart: Collection[str], most: int, folder: Path
) -> tuple[tuple[Path, ...], list[str]]:
    """The first `most` samples that are not held `apart`, and their keys."""
    parts: list[Path] = []
    found: list[str] = []
    for file in files:
        keys = _keys(file, inputs)
        rows = [row for row, key in enumerate(keys) if key not in apart][: most - len(found)]
        found += [keys[row] for row in rows]
        for part in _alike(file, rows, inputs):
            parts.append(_part(file, part, inputs, folder / f"seen_{len(parts):04d}.npz"))
    return tuple(parts), found


def _alike(file: Path, rows: Sequence[int], inputs: Mapping[str, InputSpec]) -> list[list[int]]:
    """Rows of a batch, the smallest sample first, divided where one would have to be padded far."""
    arrays = batches.read(file, list(inputs))
    sizes = {row: sum(array.size for array in single_samples.taken(arrays, inputs, [row]).values()) for row in rows}
    found: list[list[int]] = []
    for row in sorted(rows, key=sizes.__getitem__):
        if not found or sizes[row] > ALIKE * sizes[found[-1][0]]:
            found.append([])
        found[-1].append(row)
    return found


def _unseen(
    task: SampleSet | None, inputs: Mapping[str, InputSpec], seen: Collection[str], folder: Path
) -> tuple[tuple[Path, ...], int]:
    """The task's samples but those that were seen."""
    found: list[Path] = []
    count = 0
    for file in () if task is None else task.batches:
        keys = _keys(file, inputs)
        rows = [row for row, key in enumerate(keys) if key not in seen]
        if rows:
            whole = len(rows) == len(keys)
            found.append(file if whole else _part(file, rows, inputs, folder / f"task_{len(found):04d}.npz"))
            count += len(rows)
    return tuple(found), count


def _keys(file: Path, inputs: Mapping[str, InputSpec]) -> list[str]:
    """What each sample of a batch is; the batch is one where no input has an axis of samples."""
    arrays = batches.read(file, list(inputs))
    samples = (single_samples.taken(arrays, inputs, [row]) for row in range(single_samples.count(arrays, inputs)))
    return [digest.of_value({name: _content(array) for name, array in sample.items()}) for sample in samples]


def _content(array: Any) -> list[Any]:
    return [list(array.shape), str(array.dtype), digest.of_bytes(np.ascontiguousarray(array).tobytes())]


def _part(file: Path, rows: Sequence[int], inputs: Mapping[str, InputSpec], path: Path) -> Path:
    """Some samples of a batch with their labels, without padding that all of them share."""
    part = single_samples.taken(batches.read(file, list(inputs)), inputs, rows)
    labels = {f"{batches.LABEL}{name}": array[list(rows)] for name, array in batches.labels(file).items()}
    np.savez(path, allow_pickle=False, **part, **labels)
    return path
