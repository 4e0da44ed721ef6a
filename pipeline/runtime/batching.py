"""Several requests in one run, for servers that gather them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np

from pipeline.core.errors import PipelineError
from pipeline.runtime.arrays import Array
from pipeline.runtime.session import Engine

Request = Mapping[str, Array]
Result = dict[str, Array] | PipelineError


def run_together(engine: Engine, requests: Sequence[Request], *, batched: bool) -> list[Result]:
    """Run requests, those of equal shapes and types beyond the first axis in one batch.

    Args:
        engine: Runs them.
        requests: One array an input each.
        batched: Whether the first axis of every input and output is the batch; otherwise each runs alone.

    Returns:
        For each request its outputs, or the error that it (or the batch that it was in) met.
    """
    groups: dict[object, list[int]] = {}
    for index, request in enumerate(requests):
        groups.setdefault(_kind(request) if batched else index, []).append(index)
    results: dict[int, Result] = {}
    for members in groups.values():
        results.update(zip(members, _run(engine, [requests[index] for index in members]), strict=True))
    return [results[index] for index in range(len(requests))]


def _kind(request: Request) -> object:
    return tuple((name, array.dtype.str, array.shape[1:]) for name, array in sorted(request.items()))


def _run(engine: Engine, requests: list[Request]) -> list[Result]:
    try:
        if len(requests) == 1:
            return [engine.run(requests[0])]
        joined = {name: np.concatenate([request[name] for request in requests]) for name in requests[0]}
        outputs = engine.run(joined)
    except PipelineError as error:
        return [error] * len(requests)
    sizes = [len(next(iter(request.values()))) for request in requests]
    bounds = list(accumulate(sizes))[:-1]
    parts = {name: np.split(array, bounds) for name, array in outputs.items()}
    return [{name: pieces[index] for name, pieces in parts.items()} for index in range(len(requests))]
