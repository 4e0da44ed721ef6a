"""Digests of files that lie outside the store: an engine's folder, calibration files, a local checkpoint."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline.core import digest, serde
from pipeline.core.artifacts import SourceTree
from pipeline.core.errors import SourceError
from pipeline.core.spec import DataSource, EngineSpec
from pipeline.core.spec_file import FILE
from pipeline.core.store import FolderRecord, files_look_unchanged, record_files

IGNORED = {FILE, "baseline.json", "__pycache__"}
UNSEEN = {"__pycache__", ".git", ".cache"}
"""Folders that are no part of a checkpoint."""

BESIDE = {".json", ".txt", ".model"}
BESIDE_ONNX = {".data", ".bin", ".weight", ".weights", ".pb"}


def engine_tree(spec: EngineSpec) -> SourceTree:
    """The files of an engine's folder that its callables, policies and configurations may be."""
    mine = (path for path in sorted(spec.folder.iterdir()) if path.is_file() and path.name not in IGNORED)
    return SourceTree(folder=spec.folder.resolve(), digest=digest.of_files(spec.folder, mine))


def data_tree(root: Path, data: Iterable[DataSource]) -> SourceTree:
    """The files below the clone that data sources name (those in packages have their own digest).

    Raises:
        SourceError: A named file or folder does not exist, or lies outside the clone.
    """
    own = [source for source in data if not source.packages]
    named = [name for source in own for name in (source.path, source.labels) if name is not None]
    files = [path for name in named for path in _files(root, name)]
    return SourceTree(folder=root.resolve(), digest=digest.of_files(root.resolve(), files))


def checkpoint_files(path: Path) -> list[Path]:
    """The files of a local checkpoint: all of a folder; of a file, itself and what belongs to it beside it.

    Beside a file belong those whose names begin with its name (external data), configurations and vocabularies, and
    the binary files that an ONNX file may keep its weights in; in an engine's own folder, its spec and baseline do not.
    """
    if path.is_dir():
        files = (item for item in path.rglob("*") if item.is_file())
        return sorted(item for item in files if UNSEEN.isdisjoint(item.relative_to(path).parts))
    beside = BESIDE | (BESIDE_ONNX if path.suffix == ".onnx" else set())
    return sorted(
        item
        for item in path.parent.iterdir()
        if item.is_file() and item.name not in IGNORED and (item.name.startswith(path.name) or item.suffix in beside)
    )


def checkpoint_tree(path: Path, seen: Path) -> SourceTree:
    """A local checkpoint: a folder, or a file.

    Args:
        path: The checkpoint.
        seen: Folder in which records of checkpoints are kept, so that an unchanged one is not read again.

    Raises:
        SourceError: It does not exist.
    """
    if not path.exists():
        hint = "WEIGHTS is auto, pretrained, seeded, or the path of a checkpoint"
        raise SourceError("no such checkpoint", where=str(path), hint=hint)
    whole = path.resolve()
    folder = whole if whole.is_dir() else whole.parent
    memory = seen / f"{digest.of_value(str(whole))}.json"
    files = checkpoint_files(whole)
    record = _remembered(memory)
    if record is None or not files_look_unchanged(folder, files, record):
        record = record_files(folder, files)
        _remember(memory, record)
    return SourceTree(folder=whole, digest=record.digest)


def _remember(memory: Path, record: FolderRecord) -> None:
    """Keep a record under its own digest: what is read from it is believed without looking at the files again."""
    text = serde.dumps(record)
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(f"{digest.of_bytes(text.encode())}\n{text}")


def _remembered(memory: Path) -> FolderRecord | None:
    """The record; None where there is none, or it was damaged."""
    try:
        kept, _, text = memory.read_text().partition("\n")
        return serde.loads(FolderRecord, text.encode()) if kept == digest.of_bytes(text.encode()) else None
    except (OSError, ValueError):
        return None


def _files(root: Path, name: str) -> list[Path]:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise SourceError(
            "a data path must lie in the clone", where=name, hint="copy or link the data below calibration/"
        )
    if not path.exists():
        raise SourceError("no such data file or folder", where=name, hint="paths are relative to the clone's root")
    return [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
