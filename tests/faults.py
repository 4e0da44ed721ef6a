"""Break runs from outside and see what is left: `python -m tests.faults [--kills N] [--damages N] [PART …]`.

A small engine is killed at random points, runs out of disk, finds its folder read-only, its clock set back, and its
store damaged at random bytes. After each: every entry of the store is whole, the bundle that is there is whole, and the
next run ends with the bundle of an undisturbed one. Prints what was tried and survived; 1 if anything was not.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pipeline.bundle import verify
from pipeline.core.store import Store
from tests.flow.clone import Clone, make_clone

STORE = ".trt-pipeline"
LONGEST_S = 9.0
"""Latest moment of a kill after a run began: most of what a run of the small engine takes."""

ROOM_MIB = (1, 2, 3, 4, 6)
"""Sizes of a disk that is too small for the store of the small engine, at one stage or another."""

DAYS = 400


class Broken(AssertionError):
    """A promise that did not hold."""


def whole(clone: Clone) -> None:
    """Check that nothing half-written or damaged can be seen.

    Raises:
        Broken: An entry of the store is damaged, or the published bundle is.
    """
    store = clone.root / STORE
    damaged = [str(folder) for folder, intact in Store(store).all_entries() if not intact] if store.exists() else []
    if damaged:
        raise Broken(f"damaged entries: {damaged}")
    bundle = clone.engine / "build" / "bundle"
    if bundle.exists():
        verify.verify(bundle)


def core(clone: Clone) -> str:
    """Digest of the reproducible part of the bundle."""
    return verify.read(clone.engine / "build" / "bundle").core


def completes(clone: Clone, expected: str, after: str) -> None:
    """Run the line and hold its bundle to that of an undisturbed run."""
    done = clone.run("engine", "tiny")
    if done.returncode != 0:
        raise Broken(f"after {after} the next run exits {done.returncode}: {done.stderr[-800:]}")
    whole(clone)
    if core(clone) != expected:
        raise Broken(f"after {after} the next run gives another bundle")


def kill(clone: Clone, chance: random.Random) -> str:
    """Start a run, kill all of it at a random moment, and say which stage was at work."""
    process = subprocess.Popen(
        clone.command("engine", "tiny"),
        env=clone.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(chance.uniform(0.05, LONGEST_S))
    at_work = sorted((clone.root / STORE / "partial").glob("*-*"))
    ended = process.poll() is not None
    if not ended:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if ended:
        return "ended before"
    return at_work[0].name.rpartition("-")[0] if at_work else "between stages"


def forget(clone: Clone, chance: random.Random) -> None:
    """Remove some results, so that the next run has work to do."""
    stages = sorted((clone.root / STORE / "entries").iterdir())
    for stage in chance.sample(stages, k=min(len(stages), 1 + chance.randrange(6))):
        shutil.rmtree(stage)
    shutil.rmtree(clone.engine / "build", ignore_errors=True)


def kills(clone: Clone, expected: str, count: int, chance: random.Random) -> str:
    """Kill `count` runs; what they finished is kept, what they did not is not seen."""
    where: Counter[str] = Counter()
    tried = 0
    while sum(where.values()) < count:
        tried += 1
        stage = kill(clone, chance)
        whole(clone)
        if stage == "ended before":
            forget(clone, chance)
        else:
            where[stage] += 1
    completes(clone, expected, f"{count} kills")
    return f"{count} kills survived, in {', '.join(f'{stage} {number}' for stage, number in sorted(where.items()))}"


def damages(clone: Clone, expected: str, count: int, chance: random.Random) -> str:
    """Flip one bit of one file of the store, every other time under its old time stamp; then run."""
    for number in range(count):
        files = sorted(path for path in (clone.root / STORE).rglob("*") if path.is_file() and path.stat().st_size)
        path = chance.choice(files)
        before = path.stat()
        with path.open("r+b") as stream:
            stream.seek(at := chance.randrange(before.st_size))
            byte = stream.read(1)[0]
            stream.seek(at)
            stream.write(bytes([byte ^ 1 << chance.randrange(8)]))
        if number % 2:
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        shutil.rmtree(clone.engine / "build")
        done = clone.run("engine", "tiny")
        if done.returncode != 0:
            raise Broken(f"byte {at} of {path}: the next run exits {done.returncode}: {done.stderr[-800:]}")
        verify.verify(clone.engine / "build" / "bundle")
        if core(clone) != expected:
            raise Broken(f"byte {at} of {path}: the next run gives another bundle")
        clone.run("verify", "--store")
    return f"{count} damaged bytes survived"


def full_disk(clone: Clone, expected: str, chance: random.Random) -> str:
    """Run on disks that are too small; the error says so, and with room the run goes on where it stopped."""
    tried = 0
    for size in ROOM_MIB:
        shutil.rmtree(clone.root / STORE)
        done = _in_namespace(
            clone, f"mount -t tmpfs -o size={size}m tmpfs {STORE}", after=f"cp -r {STORE}/. {STORE}-kept"
        )
        if done is None:
            return "full disk: NOT RUN (this user may not mount a file system)"
        if done.returncode != 6 or "no space left on the device" not in done.stderr or "Traceback" in done.stderr:
            raise Broken(f"a disk of {size} MiB: exit {done.returncode}: {done.stderr[-1500:]}")
        shutil.rmtree(clone.root / STORE)
        (clone.root / f"{STORE}-kept").rename(clone.root / STORE)
        whole(clone)
        tried += 1
    completes(clone, expected, "a full disk")
    return f"{tried} full disks survived"


def read_only(clone: Clone, expected: str, chance: random.Random) -> str:
    """Run where nothing can be written; the error says what to do, and nothing changes."""
    shutil.rmtree(clone.engine / "build")
    done = _in_namespace(clone, "mount --bind . . && mount -o remount,ro,bind . && cd $PWD")
    if done is None:
        return "read-only folder: NOT RUN (this user may not mount a file system)"
    if done.returncode != 6 or "hint:" not in done.stderr or "Traceback" in done.stderr:
        raise Broken(f"read-only: exit {done.returncode}: {done.stderr[-1500:]}")
    completes(clone, expected, "a read-only folder")
    return "a read-only folder survived"


def clock_set_back(clone: Clone, expected: str, chance: random.Random) -> str:
    """Run when every file seems to be of next year."""
    later = time.time() + DAYS * 86400
    for path in clone.root.rglob("*"):
        os.utime(path, (later, later))
    completes(clone, expected, "the clock was set back")
    shutil.rmtree(clone.root / STORE / "entries" / "validate")
    completes(clone, expected, "the clock was set back")
    return f"a clock set back by {DAYS} days survived"


def _in_namespace(clone: Clone, prepare: str, after: str = "true") -> subprocess.CompletedProcess[str] | None:
    """Run the line in a mount namespace of its own, after `prepare`; None where that is not allowed."""
    probe = subprocess.run(
        ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False
    )
    if probe.returncode:
        return None
    script = f'mkdir -p {STORE} {STORE}-kept; {prepare}; "$@"; code=$?; {after}; exit $code'
    command = ["unshare", "-rm", "sh", "-c", script, "sh", *clone.command("engine", "tiny")]
    environment = {**clone.environment, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(command, cwd=clone.root, env=environment, capture_output=True, text=True, check=False)


PARTS: dict[str, Callable[[Clone, str, argparse.Namespace, random.Random], str]] = {
    "kill": lambda clone, expected, options, chance: kills(clone, expected, options.kills, chance),
    "disk": lambda clone, expected, options, chance: full_disk(clone, expected, chance),
    "read-only": lambda clone, expected, options, chance: read_only(clone, expected, chance),
    "clock": lambda clone, expected, options, chance: clock_set_back(clone, expected, chance),
    "damage": lambda clone, expected, options, chance: damages(clone, expected, options.damages, chance),
}


def main() -> int:
    """Run the parts asked for, each on a clone of its own; 1 if a promise did not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=str(__doc__).splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--damages", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    if strangers := [name for name in options.parts if name not in PARTS]:
        parser.error(f"no part named {strangers[0]!r}; there are {', '.join(PARTS)}")
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        original = make_clone(Path(scratch) / "original")
        done = original.run("engine", "tiny")
        if done.returncode:
            sys.exit(f"error: the undisturbed run exits {done.returncode}\n{done.stderr}")
        results = [_part(name, original, options) for name in options.parts or PARTS]
    return int(not all(results))


def _part(name: str, original: Clone, options: argparse.Namespace) -> bool:
    copy = original.root.parent / name
    shutil.copytree(original.root, copy)
    try:
        said = PARTS[name](Clone(copy), core(original), options, random.Random(f"{options.seed} {name}"))
    except Broken as broken:
        print(f"  BROKEN  {name}: {broken}", flush=True)
        return False
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    print(f"  {said}", flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
