"""The engines of a clone."""

from __future__ import annotations

from pathlib import Path

from pipeline.core import spec_file
from pipeline.core.errors import SpecError
from pipeline.core.spec import EngineSpec

STORE = ".trt-pipeline"
"""Folder of a clone that holds every result."""


def read_spec(name: str, *, root: Path) -> EngineSpec:
    """The spec of one engine.

    Raises:
        SpecError: There is no such engine, or its file is wrong.
    """
    path = root / "engines" / name / spec_file.FILE
    if not path.is_file():
        known = ", ".join(engines(root)) or "none"
        raise SpecError(
            f"no engine named {name!r}", where=str(path), hint=f"engines here: {known}; `trt-pipeline init` adds one"
        )
    return spec_file.read(path)


def engines(root: Path) -> list[str]:
    """Names of the engines of a clone."""
    return sorted(path.parent.name for path in (root / "engines").glob(f"*/{spec_file.FILE}"))
