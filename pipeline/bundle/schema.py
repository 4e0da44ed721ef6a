"""The published JSON schema of `manifest.json`."""

from __future__ import annotations

from pathlib import Path

from pipeline.bundle.manifest import Manifest
from pipeline.core import json_schema

FILE = Path(__file__).parent / "manifest.schema.json"


def current() -> str:
    """The schema that the record has now; the committed file must say the same."""
    return json_schema.of(Manifest, title="trt-pipeline bundle manifest")
