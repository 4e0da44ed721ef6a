"""Where noise that a tensor inherits stands louder in it, though nothing went wrong.

- Relu, Slice or Gather round nothing, and their noise is their operand's. But where what they keep is weaker than what
  they read (most of the energy of a convolution may be negative), the same noise is more of it.
- An exponential makes relative errors of absolute ones: scores of magnitude 10 with an error of a thousandth of that
  give probabilities that are wrong by a hundredth.
- Where elements are taken by the rank of scores, two that tie but for noise change places, and the whole difference of
  what they stand for is noise. No element is the right one of the two.

All follow from the reference alone, its graph and the power of its tensors, so that nothing of the candidate decides
what it may differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import onnx_ir as ir

from pipeline.analysis.comparison.compare import Compared
from pipeline.precision import ranking, semantics
from pipeline.precision.attention import score_path
from pipeline.precision.semantics import Movement

MOST_DB = 20.0
"""Allowance at most: what is beyond a hundred times the power is judged as it is."""


def louder(reference: ir.Model, compared: Mapping[str, Compared]) -> dict[str, float]:
    """By how many dB the noise of each tensor stands louder than in what its node read.

    Args:
        reference: The fp32 model.
        compared: Differences of its tensors, which hold the power of the reference.

    Returns:
        The allowance, 0 to `MOST_DB`, of results of data movement and exponentials. It is handed on by data movement
        and ends where something else computes.
    """
    found: dict[str, float] = {}
    for node in reference.graph:
        for name in _names(node.outputs, compared):
            rise = _rise(node, name, compared, found, exact=_is_exact(reference, node))
            if rise is not None:
                found[name] = min(max(rise, 0.0), MOST_DB)
    return found


def _rise(
    node: ir.Node, result: str, compared: Mapping[str, Compared], found: Mapping[str, float], *, exact: bool
) -> float | None:
    if node.op_type in ("Softmax", "LogSoftmax", "Exp"):
        return _decibels(min(_exponents(node, compared), default=0.0), 1.0)
    if exact and ranking.ranker(node) is not None:
        return MOST_DB
    source = _source(node, compared) if exact else None
    if source is None:
        return None
    return found.get(source, 0.0) + _decibels(_power(compared[source]), _power(compared[result]))


def _is_exact(reference: ir.Model, node: ir.Node) -> bool:
    return semantics.of(node, reference.functions.keys()).movement is Movement.EXACT


def _source(node: ir.Node, compared: Mapping[str, Compared]) -> str | None:
    """The one operand of `node` that was compared."""
    names = _names(node.inputs, compared)
    return names[0] if len(names) == 1 else None


def _exponents(node: ir.Node, compared: Mapping[str, Compared]) -> list[float]:
    """Power of what an exponential reads, and of the scores before a mask made them large."""
    product, between = score_path(node)
    makers = [*([] if product is None else [product]), *between]
    values = [node.inputs[0], *(value for maker in makers for value in maker.outputs)]
    return [_power(compared[name]) for name in _names(values, compared)]


def _names(values: Iterable[ir.Value | None], compared: Mapping[str, Compared]) -> list[str]:
    return [name for value in values if value is not None and (name := str(value.name)) in compared]


def _power(compared: Compared) -> float:
    """Mean square of the reference; 0 where it has no element."""
    return compared.kept.signal / compared.kept.elements if compared.kept.elements else 0.0


def _decibels(power: float, other: float) -> float:
    """The ratio of two powers; 0 where one is nothing, or not finite."""
    if not (0.0 < power < math.inf and 0.0 < other < math.inf):
        return 0.0
    return 10.0 * math.log10(power / other)
