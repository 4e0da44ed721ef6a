"""Find out what there is to pin: a package's file and digest, a repository's commit."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path

from pipeline.core import digest
from pipeline.core.errors import SourceError, Unreachable
from pipeline.core.spec import Package
from pipeline.models import hub

TIMEOUT_S = 1800
UNKNOWN = "NOASSERTION"
"""SPDX's identifier for a licence that nobody stated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A wheel that was looked into.

    Attributes:
        package: What to pin.
        path: The downloaded file.
        files: Paths of its files.
    """

    package: Package
    path: Path
    files: tuple[str, ...]


def wheel(requirement: str, scratch: Path) -> Wheel:
    """Download the wheel of `NAME==VERSION` (or of the newest NAME) into `scratch` and look into it.

    Raises:
        SourceError: pip finds no wheel of that name and version.
    """
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(scratch), "--", requirement]
    result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    found = sorted(scratch.glob("*.whl"))
    if result.returncode != 0 or len(found) != 1:
        said = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        raise SourceError(
            f"pip cannot download it: {said[-1] if said else result.stderr.strip()[-300:]}",
            where=requirement,
            hint="give pypi:NAME==VERSION of a package that has a wheel",
        )
    with zipfile.ZipFile(found[0]) as archive:
        files = tuple(archive.namelist())
        metadata = next(name for name in files if name.endswith(".dist-info/METADATA"))
        headers = HeaderParser().parsestr(archive.read(metadata).decode("utf-8", "replace"))
    licence = headers.get("License-Expression") or headers.get("License") or ""
    return Wheel(
        package=Package(
            name=headers["Name"],
            version=headers["Version"],
            sha256=(digest.of_file(found[0]),),
            licence=licence if licence and len(licence.splitlines()) == 1 else UNKNOWN,
        ),
        path=found[0],
        files=files,
    )


def commit(repository: str) -> str:
    """The commit that a hub repository's main branch is at, 40 hex digits.

    Raises:
        Unreachable: The hub does not answer.
        SourceError: It has no such repository.
    """
    hint = f"name the commit yourself: transformers:{repository}@COMMIT (40 hex digits)"
    if (problem := hub.reachable()) is not None:
        raise Unreachable(f"the commit to pin cannot be looked up: {problem}", where=repository, hint=hint)
    from huggingface_hub import model_info
    from huggingface_hub.errors import HfHubHTTPError

    try:
        found = model_info(repository).sha
    except HfHubHTTPError as error:
        raise SourceError(f"the hub refuses: {str(error).splitlines()[0]}", where=repository, hint=hint) from error
    if not isinstance(found, str):
        raise SourceError("the hub names no commit", where=repository, hint=hint)
    return found
