"""Arrays that a person gives a bundle by hand."""

from __future__ import annotations

from pathlib import Path

from pipeline.core import npz
from pipeline.core.errors import InputError
from pipeline.runtime.arrays import Array


def read(path: Path) -> dict[str, Array]:
    """Arrays of an `.npz` file; what it expects of the outputs (`expected.…`) is left out.

    Raises:
        InputError: It is not one, is damaged, or holds pickles.
    """
    arrays = npz.read(path, refusal=InputError)
    return {name: array for name, array in arrays.items() if not name.startswith("expected.")}
