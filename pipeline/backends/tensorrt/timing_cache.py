"""TensorRT's timing cache: measured once for a GPU and a version of TensorRT, and used by every build after that."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.backends.tensorrt import flavour
from pipeline.backends.tensorrt.flavour import Flavour


@contextmanager
def shared(folder: Path | None, gpu: str, own: Path) -> Iterator[None]:
    """Begin a build with the cache that is kept for `gpu`, and keep what it added.

    Args:
        folder: Where caches are kept; None to keep none.
        gpu: Name of the GPU: timings of another one do not count.
        own: The file that the build reads and writes.
    """
    kept = None if folder is None else folder / _name(gpu)
    if kept is not None and kept.exists():
        shutil.copyfile(kept, own)
    yield
    if kept is not None and own.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        pending = kept.with_name(f"{kept.name}.new")
        shutil.copyfile(own, pending)
        pending.rename(kept)


def _name(gpu: str) -> str:
    words = f"{Flavour.TENSORRT} {flavour.version(Flavour.TENSORRT)} {gpu}"
    return re.sub(r"[^a-z0-9.]+", "-", words.lower()) + ".cache"
