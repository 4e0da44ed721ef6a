"""Tell whether a bundle is whole: its manifest is valid, and every file is there, unchanged, and named in it.

Digests tell damage, not tampering: whoever can change a file can change an unsigned manifest too.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from pipeline.bundle import manifest
from pipeline.bundle.manifest import File, Manifest
from pipeline.core import digest, serde
from pipeline.core.artifacts import Check
from pipeline.core.errors import BundleError

MANIFEST_LIMIT = 16 << 20
"""A manifest larger than this many bytes is not read."""


def read(folder: Path) -> Manifest:
    """The manifest of the bundle in `folder`.

    Raises:
        BundleError: There is none, or it is not a valid manifest.
    """
    path = folder / manifest.FILE
    try:
        if path.stat().st_size > MANIFEST_LIMIT:
            raise BundleError(f"larger than {MANIFEST_LIMIT >> 20} MiB: not a manifest", where=str(path))
        return serde.loads(Manifest, path.read_bytes())
    except OSError as error:
        raise BundleError(
            f"no readable manifest: {error.strerror}",
            where=str(path),
            hint=f"a bundle is a folder that holds {manifest.FILE}",
        ) from error
    except ValueError as error:
        raise BundleError(
            f"not a valid manifest: {_first_line(error)}", where=str(path), hint="take the bundle again from its source"
        ) from error


def verify(folder: Path) -> Check:
    """Compare every file of a bundle with its manifest; reads all of them, loads none.

    Raises:
        BundleError: There is no valid manifest to compare with.
    """
    record = read(folder)
    problems = (*_strangers(folder, record), *_damage(folder, record))
    total = sum(file.size for file in record.files.values())
    summary = f"{len(record.files)} files, {total / 1e6:.1f} MB, compared with their SHA-256 digests"
    return Check(name="digests", passed=not problems, summary=summary, problems=problems)


def _strangers(folder: Path, record: Manifest) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_dir() and name not in record.files and name != manifest.FILE:
            yield f"{name}: not in the manifest"
        if path.is_symlink() and path.is_dir():
            yield f"{name}: a link to a folder"


def _damage(folder: Path, record: Manifest) -> Iterator[str]:
    for name, file in sorted(record.files.items()):
        if problem := _problem(folder / name, file):
            yield f"{name}: {problem}"


def _problem(path: Path, file: File) -> str | None:
    """What is wrong with one file, or None."""
    try:
        found = path.lstat()
    except OSError:
        return "missing"
    if not stat.S_ISREG(found.st_mode):
        return "not a plain file"
    if found.st_size != file.size:
        return f"{found.st_size} bytes, expected {file.size}"
    if digest.of_file(path) != file.sha256:
        return "its content does not have the digest in the manifest"
    return None


def _first_line(error: ValueError) -> str:
    """The first mistake that pydantic found, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return ": ".join(lines[1:3]) if len(lines) > 2 else lines[0]
