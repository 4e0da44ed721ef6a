"""What leaves the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A folder that is safe to ship.

    Attributes:
        folder: The folder; `manifest.json` names every file in it with size and digest.
        digest: SHA-256 of `manifest.json`.
        core: Digest of the reproducible part.
    """

    folder: Path
    digest: str
    core: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """From what a bundle was asked for; only `epoch` enters its reproducible core.

    Attributes:
        spec: SHA-256 of `engine.toml`.
        commit: Commit of the clone, with `+changes` where files that git knows differ from it; None without git.
        parameters: What the command line changed about the spec.
        epoch: Seconds since 1970 that SOURCE_DATE_EPOCH gives the bundle; None where it is not set.
    """

    spec: str
    commit: str | None
    parameters: dict[str, str]
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Refusals to ship that a person has decided not to heed; none of them concerns weights that are not the real ones.

    Attributes:
        unvalidated: Ship what did not pass validation, or passed as something else.
        unlicensed: Ship weights whose licence nobody stated.
    """

    unvalidated: bool = False
    unlicensed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedReport:
    """A validation report in the forms that people and tools read.

    Attributes:
        html: One self-contained page.
        json: The record itself; `pipeline/report/report.schema.json` describes it.
        junit: JUnit XML for CI.
        markdown: Summary for a pull request.
    """

    html: Path
    json: Path
    junit: Path
    markdown: Path
