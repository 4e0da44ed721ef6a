"""What the GPUs that a plan is built for know of formats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline.core.formats import Format
from pipeline.core.spec import PrecisionSpec

WITHOUT_BF16 = frozenset({"7.5"})
"""Compute capabilities without bf16: tensor cores have it from 8.0 on."""


def possible(spec: PrecisionSpec, targets: Sequence[str]) -> tuple[PrecisionSpec, str | None]:
    """`spec` with a range format that every target has, and why it is another than asked for.

    What a user asked for by name (the low format, patterns) is left as it is: the build names the target that refuses.
    """
    lacking = sorted(WITHOUT_BF16 & set(targets))
    if spec.range_format is not Format.BF16 or not lacking:
        return spec, None
    return (
        replace(spec, range_format=Format.FP32),
        f"precision.range_format is bf16, which target {', '.join(lacking)} does not have: "
        "what does not fit the range of the low format stays fp32 for all targets",
    )
