"""The bundle as it is: a folder, out of an archive too."""

from __future__ import annotations

from pathlib import Path

from pipeline.bundle import content, manifest
from pipeline.bundle.opening import Opened


def write(bundle: Opened, folder: Path) -> str:
    """Write every file of the bundle, its manifest and its signature below `folder`."""
    for name in sorted(bundle.manifest.files):
        content.copy(bundle.folder, name, bundle.manifest, folder / name)
    (folder / manifest.FILE).write_bytes(bundle.manifest_bytes)
    if bundle.signature is not None:
        (folder / manifest.SIGNATURE).write_bytes(bundle.signature)
    return "load it: pipeline.runtime.load('{target}')"
