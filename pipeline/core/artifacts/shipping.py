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
    """

    folder: Path
    digest: str


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
