"""Latency and throughput of a loaded bundle, whatever runs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.core.errors import InputError
from pipeline.runtime.arrays import Array
from pipeline.runtime.interface import Interface
from pipeline.runtime.session import Engine

WARM_UP = 3
"""Calls before the clock counts; the second and third run as a CUDA graph where there is one."""

FEWEST = 3
"""Calls that are timed at least, however long they take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Wall time of calls at one set of shapes, copies to and from the host included.

    Attributes:
        name: What was asked for: `min`, `opt`, `max`, or sizes of axes.
        shapes: Shape of every input.
        calls: Calls that were timed, one after another.
        median_ms: Their median.
        p99_ms: Their 99th percentile; the slowest one where there are fewer than 100.
        per_second: Rows of the first axis a second, at the median.
    """

    name: str
    shapes: dict[str, tuple[int, ...]]
    calls: int
    median_ms: float
    p99_ms: float
    per_second: float


def shapes_of(takes: Interface, what: str) -> dict[str, tuple[int, ...]]:
    """Shapes for `min`, `opt` or `max` of the profile, or for sizes of axes such as `batch=1,sequence=64`.

    Axes that are not named are at their best size.

    Raises:
        InputError: It is none of these, or outside the profile.
    """
    if what in ("min", "opt", "max"):
        index = ("min", "opt", "max").index(what)
        return {name: bounds[index] for name, bounds in takes.bounds.items()}
    sizes = _sizes(takes, what)
    shapes = {}
    for item in takes.inputs:
        best = takes.bounds[item.name][1]
        named = zip(item.shape, best, strict=True)
        shapes[item.name] = tuple(sizes.get(axis, size) if isinstance(axis, str) else size for axis, size in named)
    takes.check_shapes(shapes)
    return shapes


def feeds(takes: Interface, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Ones for integers and masks, seeded noise for floats."""
    random = np.random.default_rng(0)
    made: dict[str, Array] = {}
    for item in takes.inputs:
        shape = shapes[item.name]
        noise = item.dtype.startswith("float")
        made[item.name] = random.normal(size=shape).astype(item.dtype) if noise else np.ones(shape, item.dtype)
    return made


def measure(engine: Engine, name: str, shapes: Mapping[str, tuple[int, ...]], *, calls: int, seconds: float) -> Timing:
    """Time up to `calls` calls, for `seconds` at most (but `FEWEST` calls in any case), after a warm-up."""
    given = feeds(engine.interface, shapes)
    for _ in range(WARM_UP):
        engine.run(given)
    times = _times(lambda: engine.run(given), calls, seconds)
    median = float(np.median(times))
    rows = next((shape[0] for shape in shapes.values() if shape), 1)
    return Timing(
        name=name,
        shapes=dict(shapes),
        calls=len(times),
        median_ms=median * 1e3,
        p99_ms=float(np.percentile(times, 99, method="higher")) * 1e3,
        per_second=rows / median,
    )


def _times(call: Callable[[], object], calls: int, seconds: float) -> list[float]:
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < calls and (len(times) < FEWEST or time.perf_counter() < end):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


def _sizes(takes: Interface, what: str) -> dict[str, int]:
    known = sorted({axis for item in takes.inputs for axis in item.shape if isinstance(axis, str)})
    sizes = {}
    for part in what.split(","):
        axis, _, size = part.partition("=")
        if axis not in known or not (size.isascii() and size.isdigit()):
            raise InputError(
                f"not a shape: {what!r}",
                where="--shape",
                hint=f"give min, opt, max, or sizes such as axis=8,axis=64; axes here: {', '.join(known) or 'none'}",
            )
        sizes[axis] = int(size)
    return sizes
