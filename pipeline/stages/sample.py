"""sample: data sets to padded batches that every later stage runs on."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.artifacts import Files, Samples, SampleSet, SourceTree, Weights
from pipeline.core.errors import CalibrationError
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, CalibrationSpec, DataSource, InputSpec, Reader, TaskSpec
from pipeline.core.stage import stage

if TYPE_CHECKING:
    from pipeline.data.samples import Request, Sample, Tokenizer


@stage(
    version=1,
    rooms=("data", "models/tokenizers.py"),
    tools=("numpy", "pillow", "tokenizers", "tiktoken", "transformers"),
)
def sample(
    calibration: CalibrationSpec,
    task: TaskSpec | None,
    inputs: dict[str, InputSpec],
    axes: dict[str, AxisRange],
    tokenizer: Weights | None,
    calibration_files: Files | None,
    task_files: Files | None,
    engine: SourceTree,
    repository: SourceTree,
    *,
    out: Path,
    progress: Progress,
) -> Samples:
    """Read the spec's data sets into batches for calibration, validation and the task metric.

    Calibration takes the first samples of its data set, validation those that follow; where the set is too small for
    both, validation starts at its beginning again and the result says so.

    Args:
        calibration: Which data, and how much of it.
        task: The task metric and its data; None where the model has none.
        inputs: Graph inputs.
        axes: Sizes of every dynamic axis.
        tokenizer: Checkpoint whose tokenizer reads text.
        calibration_files: Unpacked packages of `calibration.data`, if it names some.
        task_files: Unpacked packages of `task.data`, if it names some.
        engine: The engine's folder, where callables lie.
        repository: The clone, which other paths are relative to.
        out: Folder for the batches.
        progress: Told of every batch.

    Raises:
        CalibrationError: Data is missing, empty, unlabelled, or does not fit the model's inputs.
    """
    from pipeline.data import readers, sets
    from pipeline.data.samples import Request

    load = functools.cache(lambda: _tokenizer(tokenizer))

    def request(data: DataSource, files: Files | None) -> Request:
        return Request(
            data=data,
            folder=files.folder if files else repository.folder,
            engine=engine.folder,
            inputs=inputs,
            axes=axes,
            tokenizer=load() if data.reader is Reader.TEXT else None,
        )

    source = request(calibration.data, calibration_files)
    found = list(islice(readers.read(source), calibration.samples + calibration.validate_samples))
    first, second, overlap = _split(found, calibration, source, progress)
    return Samples(
        calibration=sets.write(first, calibration.batch, source, out / "calibration", progress),
        validation=sets.write(second, calibration.batch, source, out / "validation", progress),
        task=_task(task, request(task.data, task_files), out / "task", progress) if task else None,
        overlap=overlap,
    )


def _tokenizer(weights: Weights | None) -> Tokenizer | None:
    from pipeline.models import tokenizers

    return tokenizers.load(weights) if weights and weights.tokenizer else None


def _split(
    found: Sequence[Sample], spec: CalibrationSpec, source: Request, progress: Progress
) -> tuple[Sequence[Sample], Sequence[Sample], bool]:
    """Calibration samples, validation samples, and whether some are both."""
    if not found:
        raise _empty(source, "calibration.data")
    if len(found) < spec.samples:
        progress.warn(f"{source.name}: holds {len(found)} samples, calibration.samples asks for {spec.samples}")
    overlap = len(found) < spec.samples + spec.validate_samples
    if overlap:
        progress.warn(
            f"{source.name}: holds {len(found)} samples, too few for {spec.samples} to calibrate and "
            f"{spec.validate_samples} others to validate on: validation uses calibration samples"
        )
    first = found[: spec.samples]
    second = found[: spec.validate_samples] if overlap else found[spec.samples :]
    return first, second, overlap


def _task(task: TaskSpec, source: Request, folder: Path, progress: Progress) -> SampleSet:
    from pipeline.data import readers, sets

    return sets.write(
        _labelled(islice(readers.read(source), task.samples or None), task, source),
        task.batch,
        source,
        folder,
        progress,
    )


def _labelled(samples: Iterable[Sample], task: TaskSpec, source: Request) -> Iterable[Sample]:
    from pipeline.data.metrics import METRICS

    needed = METRICS[task.metric].labels
    empty = True
    for item in samples:
        if missing := [name for name in needed if name not in item.expected]:
            raise CalibrationError(
                f"no {', '.join(missing)}, which the metric '{task.metric}' needs",
                where=item.name,
                hint="see calibration/README.md for how each reader is given labels",
            )
        empty = False
        yield item
    if empty:
        raise _empty(source, "task.data")


def _empty(source: Request, key: str) -> CalibrationError:
    return CalibrationError(
        "holds no samples",
        where=source.name,
        hint=f"{key} names the data; random data is never put in its place (see calibration/README.md)",
    )
