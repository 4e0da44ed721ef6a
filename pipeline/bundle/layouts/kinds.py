"""Writing a bundle in one of its layouts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from pipeline.bundle.layouts import oci, plain, triton
from pipeline.bundle.opening import Opened
from pipeline.core.errors import BundleError


class Layout(StrEnum):
    """Forms in which a bundle is handed on."""

    PLAIN = "plain"
    TRITON = "triton"
    OCI = "oci"


WRITERS: dict[Layout, Callable[[Opened, Path], str]] = {
    Layout.PLAIN: plain.write,
    Layout.TRITON: triton.write,
    Layout.OCI: oci.write,
}


def write(layout: Layout, bundle: Opened, target: Path) -> str:
    """Write a verified bundle to `target`, which must not exist; it appears there whole or not at all.

    Returns:
        How the result is used, in one line.

    Raises:
        BundleError: `target` exists, cannot be written, or the bundle changes meanwhile.
    """
    if target.exists() or target.is_symlink():
        raise BundleError("something is there already", where=str(target), hint="name a folder that does not exist")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise BundleError(f"cannot be written: {error.strerror}", where=str(target)) from error
    try:
        whole = scratch / "whole"
        whole.mkdir()
        use = WRITERS[layout](bundle, whole)
        whole.rename(target)
        return use.format(target=target)
    except OSError as error:
        raise BundleError(f"cannot be written: {error.strerror}", where=str(target)) from error
    finally:
        shutil.rmtree(scratch)
