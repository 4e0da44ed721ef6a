"""Time and peak memory of a command as a whole process."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a process took.

    Attributes:
        seconds: Wall time from its start to its end.
        cpu_seconds: Processor time of it and its children, user and system: comparable also on a busy machine.
        peak_gb: Peak resident memory in GB (10^9 bytes) of the process or its largest child.
    """

    seconds: float
    cpu_seconds: float
    peak_gb: float


def measure(command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command, its output to `log`.

    Raises:
        SystemExit: It failed; the end of its log is shown.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], stdout=stream, stderr=stream, env={**os.environ, **(environment or {})}
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed with {process.returncode}; {log} ends with:\n{log.read_text()[-2000:]}")
    return Cost(seconds=seconds, cpu_seconds=usage.ru_utime + usage.ru_stime, peak_gb=usage.ru_maxrss * 1024 / 1e9)
