"""How much louder inherited noise stands where an operator keeps only part of the signal.

Relu, Slice or Gather round nothing, and their noise is their operand's. But where what they keep is weaker than what
they read (most of the energy of a convolution may be negative), the same noise is more of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import onnx_ir as ir

from pipeline.analysis.compare import Compared
from pipeline.precision import semantics
from pipeline.precision.semantics import Movement

MOST_DB = 20.0
"""Allowance at most: where under a hundredth of the power is left, what is left is judged as it is."""


def weakened(reference: ir.Model, compared: Mapping[str, Compared]) -> dict[str, float]:
    """By how many dB each tensor is weaker than what data movement took it from; 0 behind everything that rounds.

    Args:
        reference: The fp32 model.
        compared: Differences of its tensors, which hold the power of the reference.
    """
    found: dict[str, float] = {}
    for node in reference.graph:
        source = _source(node, compared)
        if source is None or semantics.of(node, reference.functions.keys()).movement is not Movement.EXACT:
            continue
        for value in node.outputs:
            name = str(value.name)
            if name in compared:
                drop = found.get(source, 0.0) + _drop(_power(compared[source]), _power(compared[name]))
                found[name] = min(max(drop, 0.0), MOST_DB)
    return found


def _source(node: ir.Node, compared: Mapping[str, Compared]) -> str | None:
    """The one operand of `node` that was compared."""
    names = [str(value.name) for value in node.inputs if value is not None and value.name in compared]
    return names[0] if len(names) == 1 else None


def _power(compared: Compared) -> float:
    """Mean square of the reference; 0 where it has no element."""
    return compared.kept.signal / compared.kept.elements if compared.kept.elements else 0.0


def _drop(before: float, after: float) -> float:
    """In dB; 0 where nothing is left, or either is not finite."""
    if not (0.0 < before < math.inf and 0.0 < after < math.inf):
        return 0.0
    return 10.0 * math.log10(before / after)
