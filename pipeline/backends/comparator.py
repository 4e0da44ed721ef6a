"""Polygraphy's comparator on two arrays, failing closed where it would not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def agrees(reference: Array, candidate: Array, *, atol: float, rtol: float) -> bool:
    """Polygraphy's element-wise verdict: each element within `atol`, or within `rtol` of the reference.

    Equal infinities agree (Polygraphy's default says they do not); an empty array does not agree with anything
    (Polygraphy passes it); NaN never agrees.
    """
    from polygraphy.comparator import IterationResult
    from polygraphy.comparator.compare import SimpleCompareFunc
    from polygraphy.logger import G_LOGGER

    if reference.size == 0 or reference.shape != candidate.shape:
        return False
    compare = SimpleCompareFunc(check_shapes=True, atol=atol, rtol=rtol, infinities_compare_equal=True)
    sides = {"candidate": candidate, "reference": reference}
    # Polygraphy subtracts equal infinities before it lets them agree.
    with _without_torch(), G_LOGGER.verbosity(G_LOGGER.CRITICAL), np.errstate(all="ignore"):
        results = [IterationResult(outputs={"output": array}, runner_name=name) for name, array in sides.items()]
        return bool(compare(*results)["output"])


@contextmanager
def _without_torch() -> Iterator[None]:
    """Let Polygraphy not import torch (3 s, 0.3 GB) to learn that a numpy array is none of its tensors."""
    from polygraphy.util import array

    looked_up = array.torch
    if "torch" not in sys.modules:
        array.torch = _Absent()
    try:
        yield
    finally:
        array.torch = looked_up


class _Absent:
    """What Polygraphy asks of a package that it may do without."""

    def is_installed(self) -> bool:
        return False
