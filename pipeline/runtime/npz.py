"""Arrays that a person gives a bundle by hand."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from pipeline.core.errors import InputError
from pipeline.runtime.arrays import Array


def read(path: Path) -> dict[str, Array]:
    """Arrays of an `.npz` file; what it expects of the outputs (`expected.…`) is left out.

    Raises:
        InputError: It is not one, or holds pickles.
    """
    if not zipfile.is_zipfile(path):
        raise InputError("not an .npz file", where=str(path), hint="numpy.savez writes them, with an array an input")
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if not name.startswith("expected.")}
    except Exception as error:  # NumPy, zipfile, zlib and tokenize raise types of their own
        raise InputError(f"not a readable .npz file: {error}", where=str(path)) from error
