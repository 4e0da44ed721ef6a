"""The registry of readers, one file each."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.core.spec import Reader
from pipeline.data import callables, images, npz, text
from pipeline.data.checks import checked
from pipeline.data.samples import Read, Request, Sample

READERS: dict[Reader, Read] = {
    Reader.TEXT: text.read,
    Reader.NPZ: npz.read,
    Reader.IMAGES: images.read,
    Reader.CALLABLE: callables.read,
}


def read(request: Request) -> Iterator[Sample]:
    """The samples of a data set in their order, each held to the spec. Raises `CalibrationError` as the readers do."""
    return checked(READERS[request.data.reader](request), request.inputs, request.axes)


def fill(request: Request) -> dict[str, int]:
    """Padding value by input name, where it is not 0."""
    return text.fill(request) if request.data.reader is Reader.TEXT else {}
