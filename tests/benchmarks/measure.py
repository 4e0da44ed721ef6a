"""Time and peak memory of a command as a whole process."""

from __future__ import annotations

import os
import signal
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What a process may take at most.

    Attributes:
        cpu_seconds: Processor time.
        gb: Memory of its own, in GB (10^9 bytes): what it maps from files and never writes apart.
    """

    cpu_seconds: int
    gb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """A process that may have failed.

    Attributes:
        cost: What it took.
        failure: The last line of its output, or that it was stopped; None where it succeeded.
    """

    cost: Cost
    failure: str | None


def measure(command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command, its output to `log`.

    Raises:
        SystemExit: It failed; the end of its log is shown.
    """
    found = attempt(command, log=log, environment=environment)
    if found.failure is not None:
        sys.exit(f"{command[0]} failed; {log} ends with:\n{log.read_text()[-2000:]}")
    return found.cost


def attempt(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: Mapping[str, str] | None = None,
    limit: Limit | None = None,
) -> Attempt:
    """Run a command that may fail, its output to `log`."""
    bounded = [str(word) for word in command]
    if limit is not None:
        bounded = ["prlimit", f"--cpu={limit.cpu_seconds}", f"--data={limit.gb * 10**9}", "--", *bounded]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as stream:
        start = time.perf_counter()
        process = subprocess.Popen(bounded, stdout=stream, stderr=stream, env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    cost = Cost(seconds=seconds, cpu_seconds=usage.ru_utime + usage.ru_stime, peak_gb=usage.ru_maxrss * 1024 / 1e9)
    if process.returncode == 0:
        return Attempt(cost=cost, failure=None)
    text = log.read_text(errors="replace")
    if limit is not None and -process.returncode in (signal.SIGXCPU, signal.SIGKILL):
        return Attempt(cost=cost, failure=f"no result within {limit.cpu_seconds} s of processor time")
    if limit is not None and any(words in text for words in _OUT_OF_MEMORY):
        return Attempt(cost=cost, failure=f"no result within {limit.gb} GB")
    lines = [line for line in text.splitlines() if line.strip()]
    return Attempt(cost=cost, failure=lines[-1].strip()[:160] if lines else f"exit status {process.returncode}")


_OUT_OF_MEMORY = ("bad_alloc", "MemoryError", "Cannot allocate memory", "Failed to allocate memory")
