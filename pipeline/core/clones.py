"""The clone that a run belongs to: which commit of it, where it is one of git."""

from __future__ import annotations

import subprocess
from pathlib import Path

CHANGED = "+changes"
TIMEOUT_S = 60


def commit(root: Path) -> str | None:
    """The commit of the clone at `root`, ending in `CHANGED` where files that git knows differ; None without git."""
    head = _git(root, "rev-parse", "HEAD")
    top = _git(root, "rev-parse", "--show-toplevel")
    if head is None or top is None or Path(top).resolve() != root.resolve():
        return None
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return head if changes == "" else head + CHANGED


def _git(root: Path, *words: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(root), *words]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None
