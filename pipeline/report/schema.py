"""The published JSON schema of `report.json`."""

from __future__ import annotations

from pathlib import Path

from pipeline.core import json_schema
from pipeline.core.artifacts import ValidationReport

FILE = Path(__file__).parent / "report.schema.json"


def current() -> str:
    """The schema that the record has now; the committed file must say the same."""
    return json_schema.of(ValidationReport, title="trt-pipeline validation report")
