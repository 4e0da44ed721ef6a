"""SHA-256 digests of values, files and folders."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


def canonical_json(value: Any) -> str:
    """`value` as JSON with sorted keys and no spaces: equal values, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def of_value(value: Any) -> str:
    """Hex digest of a JSON-compatible value."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def of_bytes(data: bytes) -> str:
    """Hex digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def of_file(path: Path) -> str:
    """Hex digest of a file's content, read in chunks."""
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()


def of_files(root: Path, paths: Iterable[Path]) -> str:
    """Hex digest of files by their path below `root` and their content, in sorted order."""
    return of_value({path.relative_to(root).as_posix(): of_file(path) for path in sorted(paths)})
