"""Lay out what a person looks at: `engines/<name>/build/` with the report and the bundle, replaced as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core import serde
from pipeline.core.runner import Damaged, Handle
from pipeline.core.store import FolderRecord, Store, looks_unchanged, record_folder

PUBLISHED = "published"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What was laid out, and from which results.

    Attributes:
        sources: Digest of each result, by stage.
        record: The files that were laid out.
    """

    sources: dict[str, str]
    record: FolderRecord


def folder_name(*, seeded: bool, policy: str | None, drawn: bool = False) -> str:
    """Name of the folder below `engines/<name>/`: a run that is not the spec's own has one of its own."""
    suffixes = ["seeded"] if seeded else []
    if policy is not None:
        suffixes.append(Path(policy).stem)
    if drawn:
        suffixes.append("drawn")
    return "-".join(["build", *suffixes])


def publish(folder: Path, handles: Mapping[str, Handle[Any]], store: Store) -> None:
    """Make `folder` hold the report and, if there is one, the bundle; nothing is done where it already does.

    Raises:
        Damaged: An entry of the store is damaged.
    """
    shown = {name: handles[name] for name in ("render", "ship") if name in handles}
    sources = {name: handle.digest for name, handle in shown.items()}
    memory = store.root / PUBLISHED / f"{folder.parent.name}-{folder.name}.json"
    if _stands(memory, sources, folder):
        return
    with store.workspace("publish") as new:
        for handle in shown.values():
            _copy(handle, new, store)
        _replace(folder, new)
    memory.parent.mkdir(exist_ok=True)
    memory.write_text(serde.dumps(Publication(sources=sources, record=record_folder(folder))))


def _stands(memory: Path, sources: Mapping[str, str], folder: Path) -> bool:
    try:
        known = serde.loads(Publication, memory.read_bytes())
    except (OSError, ValueError):
        return False
    return known.sources == sources and folder.is_dir() and looks_unchanged(folder, known.record)


def _copy(handle: Handle[Any], new: Path, store: Store) -> None:
    if not store.is_intact(handle.entry):
        store.discard(handle.entry.folder)
        raise Damaged(f"{handle.stage} ({handle.entry.folder})")
    for name in handle.entry.record.files:
        if name == "artifact.json":
            continue
        target = new / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(handle.entry.folder / name, target)


def _replace(folder: Path, new: Path) -> None:
    old = new.parent / f"{new.name}-old"
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    new.mkdir()  # the workspace that its owner removes
    shutil.rmtree(old, ignore_errors=True)
