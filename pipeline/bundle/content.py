"""Bytes of a bundle, read once: what was compared with the manifest is what is used."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline.bundle.manifest import File, Manifest
from pipeline.core import digest
from pipeline.core.errors import BundleError


def read(folder: Path, name: str, manifest: Manifest) -> bytes:
    """Content of one file of a bundle.

    The file is opened once, as no link, and its bytes are compared after they were read: a file that is exchanged
    between a check and its use changes nothing.

    Raises:
        BundleError: The manifest does not name it, or the bytes read are not the ones that it names.
    """
    expected = _expected(folder, name, manifest)
    with _opened(folder / name) as stream:
        content = stream.read(expected.size + 1)
    _require(digest.of_bytes(content), expected, folder / name)
    return content


def copy(folder: Path, name: str, manifest: Manifest, target: Path) -> None:
    """Copy one file of a bundle to `target`, which must not exist; nothing is left there where it is not the right one.

    Raises:
        BundleError: See `read`.
    """
    expected = _expected(folder, name, manifest)
    target.parent.mkdir(parents=True, exist_ok=True)
    state = hashlib.sha256()
    with _opened(folder / name) as source, target.open("xb") as output:
        while chunk := source.read(digest.CHUNK):
            state.update(chunk)
            output.write(chunk)
    try:
        _require(state.hexdigest(), expected, folder / name)
    except BundleError:
        target.unlink()
        raise


def _expected(folder: Path, name: str, manifest: Manifest) -> File:
    if name not in manifest.files:
        raise BundleError("not in the manifest", where=str(folder / name))
    return manifest.files[name]


def _require(found: str, expected: File, path: Path) -> None:
    if found != expected.sha256:
        raise BundleError(
            f"its content has digest {found}, and the manifest says {expected.sha256}: it is not used",
            where=str(path),
            hint="take the bundle again from its source",
        )


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror}", where=str(path)) from error
    with os.fdopen(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise BundleError("not a plain file", where=str(path))
        yield stream
