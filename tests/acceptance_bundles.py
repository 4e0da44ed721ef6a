"""Claims about bundles, for `tests.acceptance`, in fresh clones of the last commit with fresh environments."""

from __future__ import annotations

import atexit
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from pipeline.bundle import verify
from pipeline.bundle.manifest import FILE, SIGNATURE
from pipeline.core.errors import BundleError
from pipeline.runtime import load

ROOT = Path(__file__).parents[1]
NAME = "minilm"
CLONES = ("one", "a folder of another name")
SPOTS, PACKED_SPOTS = 6, 40
"""Random bytes flipped in each file, and in the one file, beside first and last; of manifest and signature, all are."""

Found = tuple[str, str, bool]
"""Claim, figure, and whether it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """A clone in which `make engine` ran, with the environment that it made."""

    root: Path

    @property
    def build(self) -> Path:
        """Where the bundle lies, as a folder and as one file."""
        return self.root / "engines" / NAME / "build"

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run its own `trt-pipeline`."""
        command = [str(self.root / ".venv" / "bin" / "trt-pipeline"), *map(str, words)]
        return _run(command, cwd=self.root)


def signed() -> Iterator[Found]:
    """From a clean clone to a signed bundle that verifies and runs, and of which no byte can change unseen."""
    clone = _clone(CLONES[0])
    keys = clone.root / "keys"
    keys.mkdir(exist_ok=True)
    key, public = keys / "release.pem", keys / "release.pem.pub"
    bundle, packed = clone.build / "bundle", clone.build / "bundle.tar.zst"
    steps = {
        "keygen": ("keygen", key, "--no-passphrase"),
        "ship --sign": ("ship", NAME, "--sign", key),
        "verify the folder": ("verify", bundle, "--key", public),
        "verify the file": ("verify", packed, "--key", public),
        "run": ("run", packed, "--key", public, "--backend", "emulated", "--text", "A clean clone."),
    }
    done = {what: clone.run(*words) for what, words in steps.items()}
    exits = ", ".join(f"{what} {result.returncode}" for what, result in done.items())
    yield (
        f"{NAME}: a clean clone ships, signs, verifies, runs",
        f"exit codes: {exits}",
        not any(result.returncode for result in done.values()),
    )
    said = "NOT THE ENGINE" in done["run"].stderr
    yield f"{NAME}: run says that it is not the engine", "said" if said else done["run"].stderr[-200:], said
    yield from _flipped(bundle, packed, public)
    yield from _unsigned(bundle)


def equal_cores() -> Iterator[Found]:
    """Two fresh clones in folders of other names make the same core, byte for byte."""
    cores = [_core(_clone(name).build / "bundle") for name in CLONES]
    differing = [name for name in sorted(cores[0].keys() | cores[1].keys()) if cores[0].get(name) != cores[1].get(name)]
    figure = f"{len(cores[0])} files compared; " + (f"other bytes in {', '.join(differing)}" if differing else "equal")
    yield f"{NAME}: two clones make the same core", figure, not differing


def _core(bundle: Path) -> dict[str, bytes]:
    record = verify.read(bundle)
    return {name: (bundle / name).read_bytes() for name in record.files if not name.startswith("attestation/")}


def _flipped(bundle: Path, packed: Path, key: Path) -> Iterator[Found]:
    """A flipped byte of a signed bundle, refused by `verify` and by `load`."""
    chance = random.Random(0)
    for kind, path in (("folder", bundle), ("file", packed)):
        for reader, read in (
            ("verify", partial(verify.verify, path, key=key)),
            ("load", partial(load, path, key=key, backend="emulated")),
        ):
            files = [path] if path.is_file() else sorted(item for item in path.rglob("*") if item.is_file())
            refused, tried = _count(read, ((file, at) for file in files for at in _spots(file, chance)))
            yield (
                f"{NAME}: a flipped byte of the signed {kind} is refused by {reader}",
                f"{refused} of {tried}",
                (refused == tried),
            )


def _unsigned(bundle: Path) -> Iterator[Found]:
    """A flipped byte of the same bundle without its signature; and what `verify` says of such a bundle."""
    with tempfile.TemporaryDirectory(prefix="acceptance-") as scratch:
        copy = shutil.copytree(bundle, Path(scratch) / "bundle")
        (copy / SIGNATURE).unlink()
        warned = verify.UNSIGNED in verify.verify(copy).warnings
        yield f"{NAME}: verify says what an unsigned bundle cannot show", verify.UNSIGNED, warned
        chance = random.Random(1)
        files = sorted(item for item in copy.rglob("*") if item.is_file())
        spots = ((file, at) for file in files for at in _spots(file, chance))
        refused, tried = _count(partial(verify.verify, copy), spots)
        yield f"{NAME}: a flipped byte of an unsigned bundle is detected", f"{refused} of {tried}", refused == tried


def _spots(file: Path, chance: random.Random) -> Iterable[int]:
    """Positions to flip: all of what the signature is about and of the signature, else the ends and some between."""
    size = file.stat().st_size
    if file.name in (FILE, SIGNATURE):
        return range(size)
    count = PACKED_SPOTS if file.suffix == ".zst" else SPOTS
    return sorted({0, size - 1, *(chance.randrange(size) for _ in range(count))})


def _count(read: Callable[[], object], spots: Iterator[tuple[Path, int]]) -> tuple[int, int]:
    """How many flipped bytes were refused, and how many were tried; each is put back."""
    tried = [_is_refused(read, *spot) for spot in spots]
    return sum(tried), len(tried)


def _is_refused(read: Callable[[], object], file: Path, at: int) -> bool:
    with file.open("r+b") as stream:
        stream.seek(at)
        byte = stream.read(1)
        stream.seek(at)
        stream.write(bytes([byte[0] ^ 1 << at % 8]))
    try:
        read()
    except BundleError:
        return True
    finally:
        with file.open("r+b") as stream:
            stream.seek(at)
            stream.write(byte)
    return False


@cache
def _clone(name: str) -> Clone:
    """A fresh clone after `make engine`, in an environment that this installs. It goes when Python ends."""
    root = _scratch() / name
    _require(_run(["git", "clone", "--quiet", str(ROOT), str(root)]))
    python = f"{sys.base_prefix}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    print(f"  make engine MODEL={NAME} in {root} …", file=sys.stderr, flush=True)
    _require(_run(["make", "engine", f"MODEL={NAME}", f"PYTHON={python}"], cwd=root))
    return Clone(root=root)


@cache
def _scratch() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="acceptance-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _run(command: list[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command as a person in a new shell would: no variable of this project or of make is handed on."""
    own = ("PYTHONPATH", "TRT_PIPELINE_ROOT", "VIRTUAL_ENV", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MODEL")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def _require(done: subprocess.CompletedProcess[str]) -> None:
    if done.returncode:
        sys.exit(f"error: {' '.join(done.args)} exits {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
