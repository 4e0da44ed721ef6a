"""A bundle as a sequence of files, be it a folder or a `.tar.zst`; nothing is written, no link is followed."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from pipeline.bundle import archive, manifest
from pipeline.core.errors import BundleError

MANIFEST_LIMIT = 16 << 20
"""A manifest larger than this many bytes is not read."""

SIGNATURE_LIMIT = 64 << 10
"""A signature file larger than this many bytes is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One thing that lies in a bundle.

    Attributes:
        name: POSIX path below the bundle.
        size: Bytes; of no meaning where `flaw` is set.
        flaw: Why it cannot be a file of a bundle, such as a link; None for a plain file.
        open: Gives its content. In an archive it can be read only before the next entry is asked for.
    """

    name: str
    size: int
    flaw: str | None
    open: Callable[[], IO[bytes]]


class Container(Protocol):
    """A bundle, to be read once from its manifest to its last file.

    Attributes:
        where: What to name in an error.
        manifest: Content of the manifest.
        signature: Content of the signature file, or None.
    """

    where: str
    manifest: bytes
    signature: bytes | None

    def entries(self) -> Iterator[Entry]:
        """Everything in the bundle but the manifest and the signature."""


@contextmanager
def opened(bundle: Path) -> Iterator[Container]:
    """The bundle at `bundle`: a folder, or a `.tar.zst` file.

    Raises:
        BundleError: It is neither, or has no readable manifest.
    """
    if bundle.is_file():
        with bundle.open("rb") as stream:
            yield _Archive(archive.members(stream, str(bundle)), str(bundle))
    else:
        yield _Folder(bundle)


class _Folder:
    """A bundle that lies in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.where = str(folder)
        self.manifest = _limited(folder / manifest.FILE, MANIFEST_LIMIT, "manifest")
        signed = folder / manifest.SIGNATURE
        present = signed.is_symlink() or signed.exists()
        self.signature = _limited(signed, SIGNATURE_LIMIT, "signature") if present else None

    def entries(self) -> Iterator[Entry]:
        for path in sorted(self._folder.rglob("*")):
            name = path.relative_to(self._folder).as_posix()
            if name in (manifest.FILE, manifest.SIGNATURE):
                continue
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode):
                continue
            flaw = None if stat.S_ISREG(found.st_mode) else _flaw(path)
            yield Entry(name=name, size=found.st_size, flaw=flaw, open=lambda path=path: path.open("rb"))  # type: ignore[misc]


class _Archive:
    """A bundle that lies in a `.tar.zst` file, read as a stream."""

    def __init__(self, members: Iterator[archive.Member], where: str) -> None:
        self._members = members
        self.where = where
        first = next(members, None)
        if first is None or first.name != manifest.FILE:
            raise BundleError(
                f"the archive does not begin with {manifest.FILE}",
                where=where,
                hint="`trt-pipeline ship` makes bundles",
            )
        self.manifest = _whole(first, MANIFEST_LIMIT, where)
        self._next = next(members, None)
        self.signature = None
        if self._next is not None and self._next.name == manifest.SIGNATURE:
            self.signature = _whole(self._next, SIGNATURE_LIMIT, where)
            self._next = next(members, None)

    def entries(self) -> Iterator[Entry]:
        while (member := self._next) is not None:
            yield Entry(name=member.name, size=member.size, flaw=None, open=lambda member=member: member.stream)  # type: ignore[misc]
            self._next = next(self._members, None)


def _limited(path: Path, limit: int, what: str) -> bytes:
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f"not a plain file: no {what}", where=str(path))
        if found.st_size > limit:
            raise BundleError(f"larger than {_size(limit)}: not a {what}", where=str(path))
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"no readable {what}: {error.strerror}",
            where=str(path),
            hint=f"a bundle is a folder or a .tar.zst that holds {manifest.FILE}",
        ) from error


def _whole(member: archive.Member, limit: int, where: str) -> bytes:
    if member.size > limit:
        raise BundleError(f"{member.name} is larger than {_size(limit)}", where=where)
    return member.stream.read(member.size)


def _size(limit: int) -> str:
    return f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"


def _flaw(path: Path) -> str:
    return "a link to a folder" if path.is_symlink() and path.is_dir() else "not a plain file"
