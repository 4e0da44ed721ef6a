"""Fuzz every reader, guided by coverage: `python -m tests.fuzz [--seconds N] [TARGET …]`.

Each target runs in a process of its own with atheris, and prints how many cases it tried; what crashes it is kept in
`.trt-pipeline/fuzz/`. Without atheris (it has no wheel for every Python) nothing is fuzzed, and that is said.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.targets import TARGETS, seeds

FOUND = Path(".trt-pipeline") / "fuzz"
MEMORY_MIB = 4096
INSTRUMENTED = ["pipeline", "tarfile", "tomllib"]


def main() -> int:
    """Run the targets one after another; 1 if any crashed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz every reader with atheris.")
    parser.add_argument("names", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--seconds", type=int, default=30, help="time for each target (default: 30)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if importlib.util.find_spec("atheris") is None:
        print("SKIPPED: atheris is not installed (it has no wheel for every Python)")
        return 0
    if options.one:
        _fuzz(options.one, rest)
    if strangers := [name for name in options.names if name not in TARGETS]:
        parser.error(f"no target named {strangers[0]!r}; there are {', '.join(TARGETS)}")
    results = {name: _run(name, options.seconds) for name in options.names or TARGETS}
    total = sum(tried for tried, _ in results.values())
    crashed = [name for name, (_, passed) in results.items() if not passed]
    print(f"{total} hostile inputs tried on {len(results)} readers; crashed: {', '.join(crashed) or 'none'}")
    return int(bool(crashed))


def _run(name: str, seconds: int) -> tuple[int, bool]:
    """Cases tried, and whether none crashed."""
    folder = FOUND / name
    corpus = folder / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for index, seed in enumerate(seeds(name)):
        (corpus / f"seed-{index}").write_bytes(seed)
    limits = [f"-max_total_time={seconds}", "-print_final_stats=1", f"-rss_limit_mb={MEMORY_MIB}", "-timeout=20"]
    command = [sys.executable, "-m", "tests.fuzz", "--one", name, *limits, f"-artifact_prefix={folder}/", str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    stats = re.search(r"stat::number_of_executed_units: (\d+)", done.stderr)
    tried = int(stats.group(1)) if stats else 0
    passed = done.returncode == 0 and tried > 0
    print(f"  {name:<16} {tried:>8} cases in {seconds} s: {'no crash' if passed else 'CRASHED'}", flush=True)
    if not passed:
        print("\n".join(f"    {line}" for line in done.stderr.splitlines()[-40:]))
    return tried, passed


def _fuzz(name: str, arguments: list[str]) -> None:
    """Hand this process to atheris; it never returns."""
    import atheris

    with atheris.instrument_imports(include=INSTRUMENTED):
        target = TARGETS[name]
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
