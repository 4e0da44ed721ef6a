"""draw: other validation samples than the spec's, for a run that asks for them."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.artifacts import Files, Samples, SampleSet, SourceTree, Weights
from pipeline.core.draw import Draw
from pipeline.core.errors import CalibrationError, SpecError
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, CalibrationSpec, InputSpec, Reader
from pipeline.core.stage import stage

if TYPE_CHECKING:
    from pipeline.data.samples import Request, Sample

BATCH = "batch"


@stage(
    version=1,
    rooms=("data", "models/tokenizers.py"),
    tools=("numpy", "pillow", "tokenizers", "tiktoken", "transformers"),
)
def draw(
    wanted: Draw,
    samples: Samples,
    calibration: CalibrationSpec,
    inputs: dict[str, InputSpec],
    axes: dict[str, AxisRange],
    tokenizer: Weights | None,
    calibration_files: Files | None,
    engine: SourceTree,
    repository: SourceTree,
    *,
    out: Path,
    progress: Progress,
) -> Samples:
    """The sets of `samples` with another validation set, from the same data.

    It is drawn from the samples that calibration does not use; where those are too few, from all of them, and the
    result says so. The task set stays: its figure is for the samples that the spec names.

    Args:
        wanted: How many samples, chosen how, in which batches and sizes.
        samples: The spec's own sets.
        calibration: The data set.
        inputs: Graph inputs.
        axes: Sizes of every dynamic axis.
        tokenizer: Checkpoint whose tokenizer reads text.
        calibration_files: Unpacked packages of `calibration.data`, if it names some.
        engine: The engine's folder, where callables lie.
        repository: The clone, which other paths are relative to.
        out: Folder for the batches.
        progress: Told of every batch.

    Raises:
        CalibrationError: The data does not fit the model's inputs at these sizes.
        SpecError: There is no such axis, or a size is outside the profile.
    """
    from pipeline.data import sets
    from pipeline.data.samples import Request
    from pipeline.models import tokenizers

    size, sizes = _sizes(wanted, calibration, axes)
    data, text = calibration.data, calibration.data.reader is Reader.TEXT
    source = Request(
        data=data,
        folder=calibration_files.folder if calibration_files else repository.folder,
        engine=engine.folder,
        inputs=inputs,
        axes={**axes, **sizes},
        tokenizer=tokenizers.load(tokenizer) if text and tokenizer and tokenizer.tokenizer else None,
    )
    found, overlap = _choose(wanted, calibration, source, progress)
    return Samples(
        calibration=_copied(samples.calibration, out / "calibration"),
        validation=sets.write(found, size, source, out / "validation", progress),
        task=None if samples.task is None else _copied(samples.task, out / "task"),
        overlap=overlap,
    )


def _sizes(
    wanted: Draw, calibration: CalibrationSpec, axes: Mapping[str, AxisRange]
) -> tuple[int, dict[str, AxisRange]]:
    """Samples a batch, and the axes whose size is given."""
    asked = {name: size for name, size in wanted.sizes.items() if name != BATCH}
    batch = wanted.batch or wanted.sizes.get(BATCH) or calibration.batch
    if wanted.batch and wanted.sizes.get(BATCH, wanted.batch) != wanted.batch:
        other = f"--shape {BATCH}={wanted.sizes[BATCH]}"
        raise SpecError(f"--batch {wanted.batch} and {other} differ", where="command line")
    said = {BATCH: batch} if wanted.batch or BATCH in wanted.sizes else {}
    for name, size in {**asked, **said}.items():
        if name not in axes:
            known = ", ".join(axes) or "none"
            raise SpecError(f"no dynamic axis {name!r}", where="command line", hint=f"axes of this engine: {known}")
        if not axes[name].min <= size <= axes[name].max:
            raise SpecError(
                f"{name}={size} is outside the profile, {axes[name].min} to {axes[name].max}",
                where="command line",
                hint=f"raise axes.{name}.max in engine.toml: the engine is built for the profile",
            )
    return batch, {name: AxisRange(min=size, opt=size, max=size) for name, size in asked.items()}


def _choose(
    wanted: Draw, calibration: CalibrationSpec, source: Request, progress: Progress
) -> tuple[list[Sample], bool]:
    """The samples, and whether some of them may also have served calibration."""
    from pipeline.data import readers, sets

    count = wanted.samples or calibration.validate_samples
    found = sets.choose(islice(readers.read(source), calibration.samples, None), count, wanted.seed)
    if len(found) >= count:
        return found, False
    rest = len(found)
    found = sets.choose(readers.read(source), count, wanted.seed)
    if not found:
        raise CalibrationError("holds no samples", where=source.name, hint="calibration.data names the data")
    progress.warn(
        f"{source.name}: {rest} samples are left beside calibration's, {count} are asked for: "
        f"{len(found)} are drawn from all of it"
    )
    return found, True


def _copied(found: SampleSet, folder: Path) -> SampleSet:
    folder.mkdir()
    return dataclasses.replace(
        found, batches=tuple(Path(shutil.copyfile(path, folder / path.name)) for path in found.batches)
    )
