"""Polygraphy's comparator on two arrays, failing closed where it would not."""

from __future__ import annotations

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
    results = [
        IterationResult(outputs={"output": array}, runner_name=name)
        for name, array in (("candidate", candidate), ("reference", reference))
    ]
    # Polygraphy subtracts equal infinities before it lets them agree.
    with G_LOGGER.verbosity(G_LOGGER.CRITICAL), np.errstate(all="ignore"):
        return bool(compare(*results)["output"])
