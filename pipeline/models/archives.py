"""Unpack archives that come from outside: nothing may land beyond the folder, or upon another file."""

from __future__ import annotations

import shutil
import stat
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pipeline.core.errors import SourceError

METADATA = ".dist-info"


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a zip archive (a wheel is one) into `folder`.

    Raises:
        SourceError: It is no zip archive, is damaged, or holds a member that would land outside `folder`, on a file
            that is already there, or that is a link.
    """
    try:
        with zipfile.ZipFile(archive) as source:
            for member in source.infolist():
                _extract(source, member, folder, archive.name)
    except (zipfile.BadZipFile, EOFError) as error:
        raise SourceError(f"not a readable zip archive: {error}", where=archive.name) from error


def join_parts(folder: Path, pattern: str) -> None:
    """Put together the parts of one zip archive, unpack it into `folder`, and remove the parts.

    Args:
        folder: Folder that holds the parts, at any depth.
        pattern: Glob of the parts below `folder`; their file names, sorted, give their order.

    Raises:
        SourceError: No file matches, or the whole is not a safe zip archive.
    """
    parts = sorted(folder.glob(pattern), key=lambda path: path.name)
    if not parts:
        raise SourceError(f"no file matches {pattern!r}", where="weights.join", hint="the glob is below the packages")
    whole = folder / f"{parts[0].stem}.joined"
    _concatenate(parts, whole)
    unpack(whole, folder)
    for path in (*parts, whole):
        path.unlink()


def _concatenate(parts: Sequence[Path], whole: Path) -> None:
    with whole.open("wb") as target:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, target)


def _extract(source: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path, archive: str) -> None:
    target = _target(member, folder, archive)
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    if target.exists():
        raise SourceError(f"two archives hold {member.filename}", where=archive)
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open(member) as packed, target.open("wb") as unpacked:
        shutil.copyfileobj(packed, unpacked)


def _target(member: zipfile.ZipInfo, folder: Path, archive: str) -> Path:
    name = PurePosixPath(member.filename)
    outside = name.is_absolute() or ".." in name.parts or "\\" in member.filename
    if outside or stat.S_ISLNK(member.external_attr >> 16):
        raise SourceError(
            f"member {member.filename!r} is a link or points outside the archive",
            where=archive,
            hint="do not use this package",
        )
    return folder.joinpath(*name.parts)
