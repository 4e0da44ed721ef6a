"""What happened at a bad layer and what would mend it, in words."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.core.artifacts import Kind, Layer, TensorRange
from pipeline.core.formats import Format

DIFFERENCES = frozenset({"Add", "Sub", "Sum", "ReduceSum", "ReduceMean"})
MUCH = 16.0
"""How much larger than its result an operand is that a difference cancelled."""

GROWTH = 2.0
"""How much a node multiplies the relative error that reaches it, to be said to amplify it."""

SHOWN = 4
"""Nodes that are named in a sentence."""

_UNDEFINED = {
    "Div": "0 / 0, inf / inf or a divisor that rounds to zero",
    "Reciprocal": "a divisor that rounds to zero",
    "Mul": "0 x inf",
    "Sqrt": "a root of a negative number",
    "Log": "a logarithm of zero",
}


def overflow(layer: Layer, tensor: str, seen: TensorRange, low: Format) -> str:
    """Values beyond the range of `low`, from the reference's own magnitudes."""
    whose = "its values" if tensor == layer.tensor else f"the values of {tensor}, which it reads,"
    return (
        f"overflowed: {seen.overflow:,} of {_counted(layer, tensor, seen):,} of {whose} are beyond "
        f"{low.limits.largest:g}, "
        f"the largest {seen.magnitude:.3g}"
    )


def mask(layer: Layer, seen: TensorRange) -> str:
    """A mask value that becomes an infinity and means the same."""
    counted = _counted(layer, layer.tensor, seen)
    return (
        f"a mask: {seen.overflow:,} of its {counted:,} values, down to {seen.low:.3g}, become -inf; "
        f"the Softmax after it makes the same zeros of both"
    )


def underflow(layer: Layer, seen: TensorRange) -> str:
    """Values under the format's normal range."""
    counted = _counted(layer, layer.tensor, seen)
    return (
        f"lost to underflow: {seen.lost / counted:.1%} of its values round to zero in {layer.result}, "
        f"{seen.subnormal / counted:.1%} are zero or subnormal; the largest is {seen.magnitude:.3g}"
    )


def nonfinite(layer: Layer, operands: Sequence[str]) -> str:
    """NaN or infinities from good operands, none of which is out of range."""
    made = layer.injected.nonfinite if layer.injected is not None else 0
    count = made or (layer.stats.mismatched_nonfinite if layer.stats is not None else 0)
    likely = _UNDEFINED.get(layer.op, "a value inside the operator leaves the format's range")
    return f"{count:,} values are NaN or infinite though none of {', '.join(operands) or 'its operands'} is: {likely}"


def cancelled(layer: Layer, operands: float, result: float) -> str:
    """A small difference of large numbers."""
    return (
        f"cancelled: its operands reach {operands:.3g}, its result {result:.3g}, "
        f"so what they were rounded by counts {operands / result if result else float('inf'):.3g} times as much"
    )


def amplified(layer: Layer, part: str | None, factor: float) -> str:
    """A node that makes much of small errors."""
    by = f"by the {part}" if part else f"by {layer.op}"
    return f"amplified {by}: the relative error is {factor:.3g} times what reaches it"


def picked(ranker: str, factor: float) -> str:
    """A node that takes other elements, because what decides which was rounded."""
    return (
        f"took other elements: {ranker} ranks what was rounded before it, and the relative error is {factor:.3g} times "
        "what reaches it"
    )


def rounding(layer: Layer) -> str:
    """Nothing special: its own rounding, or the sum of many."""
    if layer.injected is not None and layer.stats is not None and layer.injected.relative_l2:
        share = layer.injected.relative_l2**2 / layer.stats.relative_l2**2 if layer.stats.relative_l2 else 1.0
        return f"its own node adds {min(share, 1):.0%} of the error power (SQNR {layer.injected.sqnr_db:.1f} dB alone)"
    return "many small errors upstream add up here"


def inherited(layer: Layer, operands: Sequence[Layer], root: Layer) -> str:
    """What a bad layer has from others."""
    source = f"; it begins at {root.tensor} ({root.op}{' in ' + root.module if root.module else ''})"
    stats = layer.stats
    if stats is None:
        return f"inherited{source}"
    read = [item for item in operands if item.stats is not None]
    nan = [item for item in read if item.stats is not None and item.stats.nan_candidate]
    inf = [item for item in read if item.stats is not None and item.stats.inf_candidate]
    if stats.nan_candidate and not nan and inf:
        how = {"Div": "inf / inf", "Mul": "0 x inf"}.get(layer.op, "inf - inf")
        return f"NaN from {how}: {inf[0].tensor} holds {_infinities(inf[0])}{source}"
    if stats.nan_candidate and nan:
        return f"inherits NaN from {nan[0].tensor}{source}"
    if stats.inf_candidate and inf:
        return f"inherits {_infinities(inf[0])} from {inf[0].tensor}{source}"
    if inf:
        return (
            f"infinities of {inf[0].tensor} became {'zeros or wrong numbers' if not nan else 'wrong numbers'}{source}"
        )
    return f"inherited, its own node adds little{source}"


def mend(kind: Kind, nodes: Sequence[str], part: str | None, casts: int, attention: str | None) -> str:
    """Which decision would mend a cause, and what it costs."""
    if kind is Kind.MASK:
        return "nothing needs mending; kept in fp32 up to the Softmax it would stay finite"
    shown = ", ".join(nodes[:SHOWN]) + (f" and {len(nodes) - SHOWN} more" if len(nodes) > SHOWN else "")
    chain = f", better the whole {part}" if part and part.endswith(("Norm", "normalisation")) else ""
    cost = f"{casts} more Cast{'' if casts == 1 else 's'}" if casts else "no more Casts"
    return f"keep {shown} in fp32 (precision.fp32){chain}; costs {cost}{'; ' + attention if attention else ''}"


def rank_exactly(ranker: str) -> str:
    """What would mend other elements: how far back the scores matter cannot be read off the graph."""
    return f"keep {ranker} and the scores before it in fp32 (precision.fp32); `trt-pipeline bisect` finds how far back"


def _counted(layer: Layer, tensor: str, seen: TensorRange) -> int:
    """Elements that no mask excludes, where that is known."""
    return layer.stats.elements if tensor == layer.tensor and layer.stats is not None else seen.elements


def _infinities(layer: Layer) -> str:
    count = layer.stats.inf_candidate if layer.stats is not None else 0
    return f"{count:,} infinit{'y' if count == 1 else 'ies'}"
