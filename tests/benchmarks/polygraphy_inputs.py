"""Data loader script for `polygraphy run`: the batches whose files `BENCHMARK_BATCHES` names."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np


def load_data() -> Iterator[dict[str, np.ndarray]]:
    """Feeds of one iteration each."""
    for path in os.environ["BENCHMARK_BATCHES"].split(os.pathsep):
        with np.load(path) as file:
            yield {name: file[name] for name in file}
