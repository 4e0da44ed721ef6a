"""Reads text: `.jsonl`, or any other file with one text a line.

A row of `.jsonl` is an object with the text under `data.text_field` and, optionally, its label under `label` (a
number, or a list of numbers). Labels of a plain file stand in `data.labels`: one row of numbers a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from pipeline.core.errors import CalibrationError
from pipeline.core.spec import InputSpec
from pipeline.data.labels import read_rows
from pipeline.data.samples import BATCH, Array, Request, Sample, Tokenizer, sample_axes

TOKENS = "input_ids"
TYPES = "token_type_ids"
LABEL = "label"


def read(request: Request) -> Iterator[Sample]:
    """Token ids, masks of ones and token types of zeros, cut to the profile's longest sequence.

    Raises:
        CalibrationError: The file cannot be read, a row is not what it should be, there is no tokenizer, or the
            model has inputs that text does not give.
    """
    tokenizer = _require_tokenizer(request)
    axis = _sequence_axis(request)
    for name, text, label in _rows(request):
        ids = tokenizer.encode(text, request.axes[axis].max)
        yield Sample(
            name=name,
            inputs={key: _input(key, spec, ids) for key, spec in request.inputs.items()},
            expected={} if label is None else {LABEL: label},
        )


def fill(request: Request) -> dict[str, int]:
    """What pads token ids: the tokenizer's own padding token."""
    return {TOKENS: request.tokenizer.pad_id} if request.tokenizer else {}


def _input(name: str, spec: InputSpec, ids: list[int]) -> Array:
    if name == TOKENS:
        return np.asarray(ids, dtype=spec.dtype)
    return np.ones(len(ids), spec.dtype) if spec.masks else np.zeros(len(ids), spec.dtype)


def _require_tokenizer(request: Request) -> Tokenizer:
    if request.tokenizer is None:
        raise CalibrationError(
            "reader 'text' needs a tokenizer, and the weights bring none",
            where=request.name,
            hint="name one under [model.tokenizer], or use the reader 'npz' or 'callable'",
        )
    return request.tokenizer


def _sequence_axis(request: Request) -> str:
    """The one axis of the token ids, when every input is one that text gives."""
    known = {name for name, spec in request.inputs.items() if name in (TOKENS, TYPES) or spec.masks}
    if strangers := [name for name in request.inputs if name not in known]:
        raise CalibrationError(
            f"reader 'text' gives {TOKENS}, {TYPES} and masks, and the model also has {', '.join(strangers)}",
            where=request.name,
            hint="use the reader 'callable' or 'npz', or name the input's mask: masks = [\"sequence\"]",
        )
    shapes = {name: sample_axes(spec) for name, spec in request.inputs.items()}
    axes = shapes.get(TOKENS, ())
    if len(axes) != 1 or not isinstance(axes[0], str) or set(shapes.values()) != {axes}:
        raise CalibrationError(
            f"reader 'text' gives inputs with the axes [{BATCH}, sequence], {TOKENS} among them, and the model's are "
            + "; ".join(f"{name} {list(request.inputs[name].axes)}" for name in request.inputs),
            where=request.name,
            hint="use the reader 'callable' or 'npz'",
        )
    return axes[0]


def _rows(request: Request) -> Iterator[tuple[str, str, Array | None]]:
    """Name, text and label of every row."""
    return _json_rows(request) if request.path.suffix == ".jsonl" else _plain_rows(request)


def _json_rows(request: Request) -> Iterator[tuple[str, str, Array | None]]:
    for number, line in _lines(request):
        where = f"{request.name}:{number}"
        row = _object(line, where)
        yield where, _text(row, request.data.text_field, where), _label(row, where)


def _plain_rows(request: Request) -> Iterator[tuple[str, str, Array | None]]:
    if request.data.labels is None:
        for number, line in _lines(request):
            yield f"{request.name}:{number}", line, None
        return
    lines = list(_lines(request))
    labels = read_rows(request.folder / request.data.labels, request.data.labels, rows=len(lines))
    for (number, line), label in zip(lines, labels, strict=True):
        yield f"{request.name}:{number}", line, label


def _lines(request: Request) -> Iterator[tuple[int, str]]:
    """Number and text of every line that is not blank."""
    name = request.name
    try:
        with request.path.open(encoding=request.data.encoding) as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    yield number, line.strip()
    except FileNotFoundError as error:
        raise CalibrationError(
            "no such file", where=name, hint="`data.path` names it; see calibration/README.md"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(
            f"cannot be read as {request.data.encoding}: {error}",
            where=name,
            hint='name its encoding as `data.encoding`, such as "latin-1"',
        ) from error


def _object(line: str, where: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise CalibrationError(
            f"not JSON: {error}", where=where, hint="each line of a .jsonl file is one JSON object"
        ) from error
    if not isinstance(row, dict):
        raise CalibrationError(
            f"a {type(row).__name__}, and a JSON object was expected",
            where=where,
            hint='such as {"text": "A sentence."}',
        )
    return row


def _text(row: Mapping[str, Any], field: str, where: str) -> str:
    text = row.get(field)
    if not isinstance(text, str) or not text.strip():
        raise CalibrationError(
            f"no text under '{field}': its keys are {', '.join(map(str, row)) or 'none'}",
            where=where,
            hint="name the key that holds the text as `data.text_field`",
        )
    return text


def _label(row: Mapping[str, Any], where: str) -> Array | None:
    if LABEL not in row:
        return None
    label = np.asarray(row[LABEL])
    if label.dtype.kind not in "iufb":
        raise CalibrationError(
            f"label {row[LABEL]!r} is not a number", where=where, hint="number the classes as the model's outputs do"
        )
    return label
