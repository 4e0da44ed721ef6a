"""Claims about bundles, for `tests.acceptance`: signatures, damage, and cores that two clones make alike."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline import flow
from pipeline.bundle import signing, verify
from pipeline.core.errors import BundleError
from pipeline.core.progress import Silent

ROOT = Path(__file__).parents[1]
NAME = "minilm"

Found = tuple[str, str, bool]
"""Claim, figure, and whether it holds."""


def signed() -> Iterator[Found]:
    """Both forms of a signed bundle verify with the key, and no file of it can change by a bit."""
    with tempfile.TemporaryDirectory(prefix="acceptance-") as scratch:
        folder = Path(scratch)
        signing.generate(folder / "k", folder / "k.pub", None)
        options = flow.Options(signer=signing.read_private(folder / "k"))
        build = flow.run(NAME, root=ROOT, options=options, progress=Silent()).folder
        forms = [build / "bundle", build / "bundle.tar.zst"]
        trusted = [verify.verify(form, key=folder / "k.pub").trusted for form in forms]
        yield f"{NAME}: signed, both forms verify", f"{sum(trusted)} of {len(forms)}", all(trusted)
        copy = shutil.copytree(forms[0], folder / "bundle")
        files = [path for path in copy.rglob("*") if path.is_file()]
        refused = sum(_refused_flipped(copy, path, folder / "k.pub") for path in files)
        yield f"{NAME}: a flipped bit in any file is refused", f"{refused} of {len(files)}", refused == len(files)


def _refused_flipped(bundle: Path, path: Path, key: Path) -> bool:
    """Whether a bundle is refused with one bit of a file flipped; the file is put back."""
    middle = path.stat().st_size // 2
    with path.open("r+b") as stream:
        stream.seek(middle)
        byte = stream.read(1)
        stream.seek(middle)
        stream.write(bytes([byte[0] ^ 1]))
    try:
        verify.verify(bundle, key=key)
    except BundleError:
        return True
    finally:
        with path.open("r+b") as stream:
            stream.seek(middle)
            stream.write(byte)
    return False


def equal_cores() -> Iterator[Found]:
    """Two fresh clones in folders of other names make the same core."""
    with tempfile.TemporaryDirectory(prefix="acceptance-") as scratch:
        found = [_core_of_clone(Path(scratch) / name) for name in ("one", "a folder of another name")]
    figure = " and ".join(core[:16] for core in found)
    yield f"{NAME}: two clones make the same core", figure, found[0] == found[1]


def _core_of_clone(root: Path) -> str:
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
    environment = {**os.environ, "PYTHONPATH": str(root), "TRT_PIPELINE_ROOT": str(root)}
    command = [sys.executable, "-m", "pipeline.cli", "engine", NAME]
    subprocess.run(command, cwd=root, env=environment, stdout=subprocess.DEVNULL, check=True)
    return verify.verify(root / "engines" / NAME / "build" / "bundle").core
