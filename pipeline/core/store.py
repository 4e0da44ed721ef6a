"""The store: results of stages by the digest of all that went into them.

An entry is a folder `entries/<stage>/<key>/` with `artifact.json`, the payload files that it names, and
`entry.json`: size, mtime, inode and SHA-256 of each file. It is written under `partial/`, synced, and renamed into
place, so it is there whole or not at all. Looking an entry up compares size, mtime and inode; consuming it compares
digests.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import filelock

from pipeline.core import digest, serde
from pipeline.core.errors import StoreError

T = TypeVar("T")

RECORD = "entry.json"
ARTIFACT = "artifact.json"
ELSEWHERE = "run from a clone that you can write to, or set TRT_PIPELINE_ROOT"

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
UNWRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """What one file looked like when it was recorded."""

    size: int
    mtime_ns: int
    inode: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderRecord:
    """Every file of a folder, by path below it.

    Attributes:
        files: By POSIX path relative to the folder.
    """

    files: dict[str, FileRecord]

    @property
    def digest(self) -> str:
        """Digest of names and contents; times and inodes do not enter."""
        return digest.of_value({name: record.sha256 for name, record in self.files.items()})


def record_folder(folder: Path) -> FolderRecord:
    """Record every file below `folder`, reading each of them whole."""
    return record_files(folder, _files(folder))


def record_files(folder: Path, files: Iterable[Path]) -> FolderRecord:
    """Record files below `folder`, reading each of them whole."""
    return FolderRecord(files={path.relative_to(folder).as_posix(): _record_file(path) for path in files})


def looks_unchanged(folder: Path, record: FolderRecord) -> bool:
    """Whether every recorded file has its size, mtime and inode, and no file was added. Reads no content."""
    return files_look_unchanged(folder, _files(folder), record)


def files_look_unchanged(folder: Path, files: Iterable[Path], record: FolderRecord) -> bool:
    """Whether `files` are the recorded ones with their sizes, mtimes and inodes. Reads no content."""
    present = {path.relative_to(folder).as_posix(): path.stat() for path in files}
    return present.keys() == record.files.keys() and all(
        (stat.st_size, stat.st_mtime_ns, stat.st_ino) == (known.size, known.mtime_ns, known.inode)
        for stat, known in ((present[name], record.files[name]) for name in present)
    )


def is_intact(folder: Path, record: FolderRecord) -> bool:
    """Whether every recorded file has its digest, and no file was added. Reads every file whole."""
    present = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    return present.keys() == record.files.keys() and all(
        path.stat().st_size == record.files[name].size and digest.of_file(path) == record.files[name].sha256
        for name, path in present.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One finished result in the store.

    Attributes:
        folder: Where it lies.
        record: Its files.
    """

    folder: Path
    record: FolderRecord

    @property
    def digest(self) -> str:
        """Digest of the content."""
        return self.record.digest

    def load(self, kind: type[T]) -> T:
        """The artifact, with payload paths made absolute."""
        artifact = serde.loads(kind, (self.folder / ARTIFACT).read_bytes())
        absolute: T = serde.map_paths(artifact, lambda path: path if path.is_absolute() else self.folder / path)
        return absolute


class Store:
    """Results by digest, in one folder, with one writer.

    Args:
        root: The folder; it is made on first use.

    Raises:
        StoreError: The folder cannot be made or written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries = root / "entries"
        self.partial = root / "partial"
        self._locked = False
        try:
            self.entries.mkdir(parents=True, exist_ok=True)
            self.partial.mkdir(exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"cannot make the store: {error.strerror}",
                where=str(root),
                hint=ELSEWHERE,
            ) from error

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the store's lock; a second run waits here, and says so once. What a killed run left is swept away."""
        lock = filelock.FileLock(self.root / "lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            print(f"waiting for another run that uses {self.root}", file=sys.stderr, flush=True)
            lock.acquire()
        except OSError as error:
            raise StoreError(
                f"cannot lock the store: {error.strerror}", where=str(self.root), hint=ELSEWHERE
            ) from error
        self._locked = True
        try:
            self._sweep()
            yield
        except OSError as error:
            if error.errno in FULL:
                raise StoreError(
                    "no space left on the device; nothing half-written was kept",
                    where=str(self.root),
                    hint="free some space and run again: finished stages are kept (`trt-pipeline clean` drops them)",
                ) from error
            if error.errno in UNWRITABLE:
                raise StoreError(
                    f"cannot be written: {error.strerror}", where=str(error.filename or self.root), hint=ELSEWHERE
                ) from error
            raise
        finally:
            self._locked = False
            lock.release()

    def find(self, stage: str, key: str) -> Entry | None:
        """The entry of `stage` under `key` if it looks unchanged, or is intact after its files were moved or touched.

        A damaged entry is discarded.
        """
        folder = self.entries / stage / key
        record = self._read_record(folder)
        if record is None:
            return None
        if looks_unchanged(folder, record):
            return Entry(folder=folder, record=record)
        if not is_intact(folder, record):
            return None
        return self._write_record(folder)

    def is_intact(self, entry: Entry) -> bool:
        """Whether the entry's digests hold; reads every file whole."""
        return is_intact(entry.folder, entry.record)

    @contextmanager
    def workspace(self, stage: str) -> Iterator[Path]:
        """An empty folder under `partial/` for one stage, removed afterwards unless it was committed."""
        if not self._locked:
            raise RuntimeError("the store is written to without its lock")
        folder = Path(tempfile.mkdtemp(prefix=f"{stage}-", dir=self.partial))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def commit(self, stage: str, key: str, folder: Path, artifact: Any) -> Entry:
        """Move a stage's workspace into place as the entry of `key`.

        Raises:
            ValueError: The artifact names a file outside its workspace.
        """
        relative = serde.map_paths(artifact, lambda path: _inside(path, folder))
        (folder / ARTIFACT).write_text(serde.dumps(relative))
        self._write_record(folder)
        for path in [*_files(folder), folder / RECORD]:
            _sync(path)
        target = self.entries / stage / key
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            self.discard(target)
        folder.rename(target)
        _sync(target.parent)
        entry = self.find(stage, key)
        if entry is None:
            raise StoreError("an entry was damaged while it was written", where=str(target), hint="check the disk")
        return entry

    def discard(self, folder: Path) -> None:
        """Remove an entry: out of sight in one step, then from the disk."""
        grave = Path(tempfile.mkdtemp(prefix="discarded-", dir=self.partial))
        folder.rename(grave / "entry")
        shutil.rmtree(grave, ignore_errors=True)

    def all_entries(self) -> Iterator[tuple[Path, bool]]:
        """Every entry's folder, and whether its digests hold."""
        for folder in sorted(path for path in self.entries.glob("*/*") if path.is_dir()):
            record = self._read_record(folder)
            yield folder, record is not None and is_intact(folder, record)

    def _read_record(self, folder: Path) -> FolderRecord | None:
        try:
            return serde.loads(FolderRecord, (folder / RECORD).read_bytes())
        except (OSError, ValueError):
            return None

    def _write_record(self, folder: Path) -> Entry:
        record = record_folder(folder)
        pending = folder / f"{RECORD}.new"
        pending.write_text(serde.dumps(record))
        _sync(pending)
        pending.rename(folder / RECORD)
        return Entry(folder=folder, record=record)

    def _sweep(self) -> None:
        for leftover in self.partial.iterdir():
            shutil.rmtree(leftover, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    own = {RECORD, f"{RECORD}.new"}
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder).as_posix() not in own
    )


def _record_file(path: Path) -> FileRecord:
    stat = path.stat()
    return FileRecord(size=stat.st_size, mtime_ns=stat.st_mtime_ns, inode=stat.st_ino, sha256=digest.of_file(path))


def _inside(path: Path, folder: Path) -> Path:
    if not path.is_relative_to(folder):
        raise ValueError(f"an artifact names {path}, which is not in its workspace {folder}")
    return path.relative_to(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
