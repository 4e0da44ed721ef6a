"""A bundle as one file: a tar in a zstd frame, the same bytes for the same bundle, and read without trust.

Only what `pack` writes is read: plain files with short relative names, the manifest first, its signature second. Any
other tar feature (links, devices, extended headers, sparse files) and any other zstd frame is an error, so nothing in
an archive can make its reader allocate or write more than the manifest says.

Compressed data has bits that change nothing in what it stands for (0.03 % of a small bundle's), so a digest of the
compressed bytes ends the file, in a frame that other readers of zstd skip: damage shows wherever it is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.bundle import manifest
from pipeline.core.errors import BundleError, ShipError

SUFFIX = ".tar.zst"
LEVEL = 3
WINDOW_LOG = 21
FRAME = b"\x28\xb5\x2f\xfd\x04\x58"
"""How the frame begins: magic number, a content checksum and no content size, a window of 2 MiB."""

SEAL = b"\x5e\x2a\x4d\x18\x20\x00\x00\x00"
"""How the skippable frame begins that ends the file: its magic number, and the 32 bytes of a SHA-256 that follow."""

BLOCK = 512
END = 2 * BLOCK
CHUNK = 1 << 20
PIECE = 2048
"""Compressed bytes that are taken at once: at most 64 MiB of content (a block of 128 KiB may take four bytes)."""

LONGEST_NAME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One file of an archive.

    Attributes:
        name: Its path.
        size: Bytes.
        stream: Its content, to be read before the next member is asked for.
    """

    name: str
    size: int
    stream: IO[bytes]


def pack(folder: Path, target: Path) -> None:
    """Write the bundle in `folder` to `target`; the time of every file is SOURCE_DATE_EPOCH, or 0.

    Raises:
        ShipError: A file's name is too long.
    """
    state = hashlib.sha256()
    with target.open("wb") as file:
        for piece in _frame(folder):
            state.update(piece)
            file.write(piece)
        file.write(SEAL + state.digest())


def _frame(folder: Path) -> Iterator[bytes]:
    """The compressed tar, piece by piece."""
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(
        LEVEL, window_log=WINDOW_LOG, write_checksum=True, write_content_size=False
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    yield from map(compressor.compress, _tar(folder))
    yield compressor.flush()


def _tar(folder: Path) -> Iterator[bytes]:
    for path in _ordered(folder):
        size = path.stat().st_size
        yield _header(path.relative_to(folder).as_posix(), size, epoch())
        with path.open("rb") as source:
            yield from iter(lambda: source.read(CHUNK), b"")
        yield bytes(-size % BLOCK)
    yield bytes(END)


def epoch() -> int:
    """Seconds that SOURCE_DATE_EPOCH gives, or 0.

    Raises:
        ShipError: It is not a number of seconds.
    """
    return given_epoch() or 0


def given_epoch() -> int | None:
    """Seconds that SOURCE_DATE_EPOCH gives, or None where it is not set.

    Raises:
        ShipError: It is not a number of seconds.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) <= 11):
        raise ShipError(f"not a number of seconds: {given!r}", where="SOURCE_DATE_EPOCH", hint="such as 1767225600")
    return int(given)


def members(file: IO[bytes], where: str) -> Iterator[Member]:
    """The files of an archive in order.

    Raises:
        BundleError: It is truncated, damaged, or not of the form that `pack` writes.
    """
    if file.read(len(FRAME)) != FRAME:
        raise BundleError("not an archive that trt-pipeline writes", where=where, hint=f"a bundle's file is *{SUFFIX}")
    file.seek(0)
    reader = _Reader(_plain(file, where), where)
    while (header := reader.take(BLOCK)) != bytes(BLOCK):
        info = _parse(header, where)
        content = _Content(reader, info.size)
        yield Member(name=info.name, size=info.size, stream=content)  # type: ignore[arg-type]
        content.drain()
    if reader.take(BLOCK) != bytes(BLOCK) or not reader.at_end():
        raise BundleError("the archive does not end where its files do", where=where)


def unpack(bundle: Path, folder: Path, *, allowed: manifest.Manifest) -> None:
    """Write the files of an archive into a new `folder`: only those that `allowed` names, with the sizes that it gives.

    Digests are not compared here: verify the folder afterwards.

    Raises:
        BundleError: The archive is damaged, holds something else, or would not fit on the disk; or `folder` exists.
    """
    needed = sum(file.size for file in allowed.files.values())
    _require_room(folder, needed)
    with bundle.open("rb") as file:
        for member in members(file, str(bundle)):
            own = member.name in (manifest.FILE, manifest.SIGNATURE)
            if not own and (member.name not in allowed.files or allowed.files[member.name].size != member.size):
                raise BundleError(f"{member.name} is not what the manifest names", where=str(bundle))
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as stream:
                shutil.copyfileobj(member.stream, stream, CHUNK)


def _require_room(folder: Path, needed: int) -> None:
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise BundleError(f"cannot unpack there: {error.strerror}", where=str(folder)) from error
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BundleError(
            f"needs {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free", where=str(folder), hint="free some space"
        )


def _ordered(folder: Path) -> list[Path]:
    first = [path for name in (manifest.FILE, manifest.SIGNATURE) if (path := folder / name).exists()]
    return first + sorted(path for path in folder.rglob("*") if path.is_file() and path not in first)


def _header(name: str, size: int, seconds: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, seconds, 0o644
    if len(name.encode()) > LONGEST_NAME:
        raise ShipError(f"the name has more than {LONGEST_NAME} bytes", where=name)
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "strict")


def _parse(header: bytes, where: str) -> tarfile.TarInfo:
    """The header of a plain file, exactly as `_header` writes it."""
    try:
        info = tarfile.TarInfo.frombuf(header, "utf-8", "strict")
        if not (manifest.is_inside(info.name) and info.size >= 0):
            raise BundleError(f"the archive names a path outside the bundle: {info.name!r}", where=where)
        if header == _header(info.name, info.size, int(info.mtime)):
            return info
    except (tarfile.HeaderError, ValueError, OverflowError, ShipError) as error:
        raise BundleError("the archive is damaged: not a tar header", where=where) from error
    raise BundleError(f"{info.name} is not a plain file as trt-pipeline writes them", where=where)


def _plain(file: IO[bytes], where: str) -> Iterator[bytes]:
    """What the frame in `file` holds, a little at a time: a few compressed bytes may stand for very many."""
    import zstandard

    frame = zstandard.ZstdDecompressor(max_window_size=1 << WINDOW_LOG).decompressobj()
    state = hashlib.sha256()
    try:
        while not frame.eof:
            if not (piece := file.read(PIECE)):
                raise BundleError("the archive is truncated", where=where)
            content = frame.decompress(piece)
            state.update(piece[: len(piece) - len(frame.unused_data)])
            yield content
    except zstandard.ZstdError as error:
        raise BundleError(f"the archive is damaged: {error}", where=where) from error
    seal = SEAL + state.digest()
    _require_seal(frame.unused_data + file.read(len(seal) + 1), seal, where)


def _require_seal(found: bytes, seal: bytes, where: str) -> None:
    if len(found) < len(seal):
        raise BundleError("the archive is truncated", where=where)
    if len(found) > len(seal):
        raise BundleError("something follows the archive", where=where)
    if found != seal:
        raise BundleError("the archive is damaged: it does not have the digest at its end", where=where)


class _Reader:
    """Exact reads from pieces of any size."""

    def __init__(self, pieces: Iterator[bytes], where: str) -> None:
        self._pieces = pieces
        self._pending = b""
        self.where = where

    def take(self, count: int) -> bytes:
        """Exactly `count` bytes."""
        parts, found = [self._pending], len(self._pending)
        while found < count:
            piece = next(self._pieces, None)
            if piece is None:
                raise BundleError("the archive is truncated", where=self.where)
            parts.append(piece)
            found += len(piece)
        content = b"".join(parts)
        self._pending = content[count:]
        return content[:count]

    def at_end(self) -> bool:
        """Whether nothing follows."""
        return not self._pending and not any(self._pieces)


class _Content:
    """The content of one member, as a file that is read forwards."""

    def __init__(self, reader: _Reader, size: int) -> None:
        self._reader = reader
        self._left = size
        self._padding = -size % BLOCK

    def read(self, count: int = -1) -> bytes:
        """At most `count` bytes, or all that is left."""
        wanted = self._left if count < 0 else min(count, self._left)
        content = self._reader.take(wanted)
        self._left -= wanted
        return content

    def __enter__(self) -> _Content:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to close: the archive owns the stream."""

    def drain(self) -> None:
        """Skip to the next header."""
        while self._left:
            self.read(CHUNK)
        if self._reader.take(self._padding) != bytes(self._padding):
            raise BundleError("the archive is damaged: padding that is not zero", where=self._reader.where)
