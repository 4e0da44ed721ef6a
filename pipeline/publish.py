"""Lay out what a person looks at: `engines/<name>/build/` with the report and the bundle, replaced as a whole."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.bundle import archive, signing
from pipeline.core import serde
from pipeline.core.runner import Damaged, Handle
from pipeline.core.store import FolderRecord, Store, looks_unchanged, record_folder

PUBLISHED = "published"
BUNDLE = "bundle"
EPOCH = "epoch"
SIGNED_BY = "signed by"

SHOWN: Mapping[str, frozenset[str] | None] = {"render": None, "strip": frozenset({"names.json"}), "ship": None}
"""What a person is shown of a stage's result: all of its files, or those named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What was laid out, and from which results.

    Attributes:
        sources: Digest of each result, by stage.
        record: The files that were laid out.
    """

    sources: dict[str, str]
    record: FolderRecord


def folder_name(
    *, seeded: bool, policy: str | None, drawn: bool = False, stripped: bool = False, compensated: bool = False
) -> str:
    """Name of the folder below `engines/<name>/`: a run that is not the spec's own has one of its own."""
    suffixes = ["seeded"] if seeded else []
    if policy is not None:
        suffixes.append(Path(policy).stem)
    if drawn:
        suffixes.append("drawn")
    if compensated:
        suffixes.append("compensated")
    if stripped:
        suffixes.append("stripped")
    return "-".join(["build", *suffixes])


def publish(
    folder: Path, handles: Mapping[str, Handle[Any]], store: Store, signer: signing.Signer | None = None
) -> None:
    """Make `folder` hold the report and, if there is one, the bundle as a folder and as one file.

    Nothing is done where it already does. A bundle stays beside the report that it was shipped on, signed if it was,
    also where a run ends before it is shipped again.

    Args:
        folder: Below `engines/<name>/`.
        handles: Results by the name of their stage.
        store: Where they lie.
        signer: Signs the bundle.

    Raises:
        Damaged: An entry of the store is damaged.
    """
    shown = {name: handles[name] for name in SHOWN if name in handles}
    sources = {name: handle.digest for name, handle in shown.items()} | {EPOCH: str(archive.epoch())}
    if signer is not None:
        sources[SIGNED_BY] = signer.key_id
    memory = store.root / PUBLISHED / f"{folder.parent.name}-{folder.name}.json"
    if _stands(memory, sources, folder):
        return
    with store.workspace("publish") as new:
        for handle in shown.values():
            _copy(handle, new, store)
        if "ship" in shown:
            _seal(new / BUNDLE, signer)
        _replace(folder, new)
    memory.parent.mkdir(exist_ok=True)
    memory.write_text(serde.dumps(Publication(sources=sources, record=record_folder(folder))))


def _stands(memory: Path, sources: Mapping[str, str], folder: Path) -> bool:
    try:
        known = serde.loads(Publication, memory.read_bytes())
    except (OSError, ValueError):
        return False
    same = all(known.sources.get(name) == value for name, value in sources.items())
    added = known.sources.keys() - sources.keys() <= {SIGNED_BY, *SHOWN}
    return same and added and folder.is_dir() and looks_unchanged(folder, known.record)


def _is_shown(stage: str, name: str) -> bool:
    named = SHOWN[stage]
    return named is None or name in named


def _seal(bundle: Path, signer: signing.Signer | None) -> None:
    """Sign the bundle, and pack it."""
    if signer is not None:
        signing.sign(bundle, signer)
    archive.pack(bundle, bundle.parent / f"{BUNDLE}{archive.SUFFIX}")


def _copy(handle: Handle[Any], new: Path, store: Store) -> None:
    if not store.is_intact(handle.entry):
        store.discard(handle.entry.folder)
        raise Damaged(f"{handle.stage} ({handle.entry.folder})")
    for name in handle.entry.record.files:
        if name == "artifact.json" or not _is_shown(handle.stage, name):
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
