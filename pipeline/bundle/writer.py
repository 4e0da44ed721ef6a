"""Lay a bundle's files into its folder and write the manifest over them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.bundle import manifest
from pipeline.bundle.manifest import File, Manifest, Role
from pipeline.core import digest
from pipeline.core.errors import ShipError
from pipeline.core.progress import Progress


@dataclass(slots=True, kw_only=True)
class Writer:
    """Collects the files of one bundle.

    Attributes:
        folder: The bundle's folder; it is made with the first file.
        progress: Receives a step a file.
        files: What was added so far, by POSIX path below the folder.
    """

    folder: Path
    progress: Progress
    files: dict[str, File] = field(default_factory=dict)

    def copy(self, source: Path, name: str, role: Role) -> str:
        """Copy `source` to `name`; returns its digest."""
        with self.adding(name, role) as target:
            shutil.copyfile(source, target)
        return self.files[name].sha256

    def write(self, text: str, name: str, role: Role) -> None:
        """Write `text` as UTF-8 to `name`."""
        with self.adding(name, role) as target:
            target.write_text(text, encoding="utf-8")

    def finish(self, record: Manifest) -> str:
        """Write `manifest.json`; returns its digest."""
        path = self.folder / manifest.FILE
        path.write_text(manifest.dumps(record), encoding="utf-8")
        return digest.of_file(path)

    @contextmanager
    def adding(self, name: str, role: Role) -> Iterator[Path]:
        """Gives the path to write `name` to; it becomes a file of the bundle when the block ends.

        Raises:
            ShipError: There is a file of that name, or it lies outside the bundle.
        """
        if name in self.files or name in (manifest.FILE, manifest.SIGNATURE) or not manifest.is_inside(name):
            raise ShipError(
                f"two files of the bundle would be named {name}, or it lies outside", where=str(self.folder)
            )
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        yield target
        self.progress.advance("files of the bundle", len(self.files) + 1)
        self.files[name] = File(role=role, size=target.stat().st_size, sha256=digest.of_file(target))
