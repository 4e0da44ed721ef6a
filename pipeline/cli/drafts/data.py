"""Calibration data of a new engine: what `--data` names, or what fits the inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli.drafts.draft import SEQUENCE, UNKNOWN, Data, Wanted
from pipeline.core.errors import PipelineError, SourceError, SpecError
from pipeline.core.spec import AxisRange, DataSource, InputSpec, Reader

if TYPE_CHECKING:
    from pipeline.data.samples import Sample

ENGLISH = "calibration/english.jsonl"
TOKENS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
ENOUGH = 40
"""Samples that are looked at: those of calibration and validation."""

ANY = 2**31 - 1
"""Size that no sample exceeds."""


def fitting(
    wanted: Wanted, inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange], *, tokenizer: bool
) -> tuple[Data, dict[str, AxisRange]]:
    """The data and, where samples tell more, other sizes of the axes.

    Args:
        wanted: What the command line says.
        inputs: Graph inputs.
        axes: Sizes of every dynamic axis.
        tokenizer: Whether the weights bring one.

    Raises:
        SpecError: `--data` names a file that no reader is for.
        SourceError: It names nothing.
    """
    reads_text = "input_ids" in inputs and inputs.keys() <= TOKENS
    path = wanted.data or _own(wanted)
    if path is None and reads_text:
        path = ENGLISH
    if path is None:
        return _missing(wanted, inputs), dict(axes)
    if wanted.data is not None and not (wanted.root / path).exists():
        raise SourceError("no such file or folder", where=f"--data {path}", hint="paths are relative to the clone")
    reader = _reader(wanted.root / path)
    if reader is Reader.TEXT:
        lack = None if tokenizer else f"calibration.data: {path} is text, and the weights bring no tokenizer"
        todo = None if lack is None else f"{lack}: name one under [model.tokenizer], or give token ids as .npz"
        return Data(reader=reader, path=path, licence=_licence(path), todo=todo), _for_text(axes)
    return _looked_at(Data(reader=reader, path=path), wanted.root, inputs, axes)


def has_tokenizer(checkpoint: Path) -> bool:
    """Whether a checkpoint, a file or a folder, brings a tokenizer."""
    from pipeline.models import tokenizers

    return tokenizers.find(checkpoint if checkpoint.is_dir() else checkpoint.parent) is not None


def _own(wanted: Wanted) -> str | None:
    """Data that lies where an engine of this name would have it."""
    places = (f"calibration/{wanted.name}.npz", f"calibration/{wanted.name}")
    return next((place for place in places if (wanted.root / place).exists()), None)


def _reader(path: Path) -> Reader:
    from pipeline.data.images import SUFFIXES

    if path.is_dir():
        pictures = any(item.suffix.lower() in SUFFIXES for item in path.rglob("*"))
        return Reader.IMAGES if pictures else Reader.NPZ
    kinds = {".npz": Reader.NPZ, ".jsonl": Reader.TEXT, ".txt": Reader.TEXT}
    if path.suffix not in kinds:
        raise SpecError(
            f"{path.name} is no data that a reader is for",
            where="--data",
            hint="an .npz file, a folder of them, a folder of pictures, or text as .jsonl or .txt",
        )
    return kinds[path.suffix]


def _licence(path: str) -> str:
    return "CC0-1.0" if path == ENGLISH else UNKNOWN


def _for_text(axes: Mapping[str, AxisRange]) -> dict[str, AxisRange]:
    return {
        name: AxisRange(min=sizes.min, opt=min(SEQUENCE.opt, sizes.max), max=sizes.max) if name == "sequence" else sizes
        for name, sizes in axes.items()
    }


def _missing(wanted: Wanted, inputs: Mapping[str, InputSpec]) -> Data:
    """Where the data will lie, in the form that fits the inputs."""
    place = f"calibration/{wanted.name}"
    if len(inputs) == 1 and all(item.axes[:2] == ("batch", 3) and len(item.axes) == 4 for item in inputs.values()):
        todo = f"calibration.data: put some {ENOUGH} real pictures into {place}/, or name others"
        return Data(reader=Reader.IMAGES, path=place, todo=todo)
    arrays = ", ".join(f"{name} {item.dtype} {list(item.axes)}" for name, item in inputs.items())
    todo = f"calibration.data: save some {ENOUGH} real samples to {place}.npz: {arrays}"
    return Data(reader=Reader.NPZ, path=f"{place}.npz", todo=todo.replace("'", ""))


def _looked_at(
    data: Data, root: Path, inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange]
) -> tuple[Data, dict[str, AxisRange]]:
    """`data` with as many samples as there are, and axes that hold them."""
    from pipeline.data import readers
    from pipeline.data.samples import Request

    request = Request(
        data=DataSource(reader=Reader(data.reader), path=data.path, licence=data.licence),
        folder=root,
        engine=root,
        inputs=inputs,
        axes={name: AxisRange(min=1, opt=1, max=ANY) for name in axes},
    )
    try:
        found = list(islice(readers.read(request), ENOUGH))
    except PipelineError as error:
        return replace(data, todo=f"calibration.data: {str(error).splitlines()[0]}"), dict(axes)
    if not found:
        return replace(data, todo=f"calibration.data: {data.path} holds no samples"), dict(axes)
    return _counted(data, len(found), axes), {name: _holding(name, axes[name], inputs, found) for name in axes}


def _counted(data: Data, count: int, axes: Mapping[str, AxisRange]) -> Data:
    """Four fifths of the samples to calibrate on, where there are fewer than are asked for."""
    from pipeline.data.samples import BATCH

    kept = min(data.validate_samples, max(1, count // 5))
    samples = max(1, min(data.samples, count - kept))
    return replace(data, samples=samples, validate_samples=kept, batch=min(data.batch, samples) if BATCH in axes else 1)


def _holding(name: str, sizes: AxisRange, inputs: Mapping[str, InputSpec], found: list[Sample]) -> AxisRange:
    """Sizes of an axis that hold every sample, best at the largest."""
    from pipeline.data.samples import sample_axes

    seen = [
        size
        for sample in found
        for key, spec in inputs.items()
        for axis, size in zip(sample_axes(spec), sample.inputs[key].shape, strict=True)
        if axis == name
    ]
    if not seen:
        return sizes
    return AxisRange(min=min(sizes.min, *seen), opt=max(seen), max=max(sizes.max, *seen))
