"""How far a figure may fall below its baseline: derived from the format and from a measured spread, never tuned.

A figure has worsened when its noise power grew by more than

- one rounding in the format that the tensor is stored in (`Limits.rounding_sqnr_db`): the least that a changed
  decision adds;
- and the upper prediction limit for one more observation of a normal quantity, `repeats` of which were seen (Student's
  t; Hahn and Meeker, Statistical Intervals, 4.7), at one false alarm in a thousand. The observations are validations
  whose sums came out as other processors might give them (`precision.shaken`).

A task metric may worsen by one unit roundoff of its own value, and by the same prediction limit.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from pipeline.core.artifacts import Layer
from pipeline.core.artifacts.steadiness import Steadiness
from pipeline.core.errors import BaselineError
from pipeline.core.formats import Format
from pipeline.regress.baseline import Bounds, Figures
from pipeline.regress.take import DIGITS, noise

FALSE_ALARM = 1e-3
"""Chance that a figure of an unchanged engine is called worse on another processor."""


def bounds(figures: Figures, layers: Iterable[Layer], steadiness: Steadiness) -> Bounds:
    """Bounds of a baseline.

    Args:
        figures: Its figures.
        layers: The layers that they were taken from.
        steadiness: The repeated validations.

    Raises:
        BaselineError: A figure is not finite in a repeated validation.
    """
    module = {layer.tensor: layer.module for layer in layers}
    spread = _by_module(steadiness.layers, module)
    own = _by_module(steadiness.own, module)
    of_layers = {name: _limit(values) for name, values in steadiness.layers.items()}
    low = {name: _floor(item.sqnr_db, figures.low, of_layers.get(name, 0.0)) for name, item in figures.outputs.items()}
    return Bounds(
        outputs=low,
        modules={
            name: _floor(item.sqnr_db, item.format, spread.get(name, 0.0)) for name, item in figures.modules.items()
        },
        own={name: _floor(item.own_db, item.own_format, own.get(name, 0.0)) for name, item in figures.modules.items()},
        tasks={
            name: abs(item.candidate) * figures.low.limits.unit_roundoff + _limit(steadiness.tasks)
            for name, item in figures.tasks.items()
        },
        repeats=steadiness.repeats,
        epsilon=steadiness.epsilon,
    )


def _floor(sqnr_db: float, stored: Format, spread: float) -> float:
    """The SQNR, in dB, below which a figure is worse."""
    allowed = noise(sqnr_db) + noise(stored.limits.rounding_sqnr_db) + spread
    if not math.isfinite(allowed):
        raise BaselineError(
            "a figure is not finite when sums come out in another order: no baseline can be derived from it",
            hint="`trt-pipeline validate` shows the layers; keep the one that overflows in fp32",
        )
    return round(-10.0 * math.log10(allowed), DIGITS)


def _by_module(values: dict[str, tuple[float, ...]], module: dict[str, str]) -> dict[str, float]:
    """The widest limit among the layers of each module."""
    found: dict[str, float] = {}
    for tensor, seen in values.items():
        if tensor in module:
            limit = _limit(seen)
            known = found.get(module[tensor], 0.0)
            found[module[tensor]] = limit if not limit <= known else known
    return found


def _limit(values: Sequence[float]) -> float:
    """How far above their centre one more observation may lie; NaN where one of them is not finite."""
    if not all(math.isfinite(value) for value in values):
        return math.nan
    if len(values) < 2:
        return 0.0
    return _factor(len(values)) * statistics.stdev(values)


def _factor(count: int) -> float:
    from scipy import stats

    return float(stats.t.ppf(1.0 - FALSE_ALARM, count - 1)) * math.sqrt(1.0 + 1.0 / count)
