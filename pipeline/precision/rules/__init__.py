"""Reasons to keep a node in fp32, each in a file of its own.

A rule reads the `Evidence` and yields claims. It never asks for the low format: that is what a node gets when no rule
claims it.
"""

from __future__ import annotations

from pipeline.precision.rules import angles, discrete, norms, overflow, ranked, recurrence, softmax, underflow
from pipeline.precision.rules.claim import Claim, Rule

RULES: dict[str, Rule] = {
    "recurrence": recurrence.claims,
    "norm": norms.claims,
    "softmax": softmax.claims,
    "constant": overflow.constants,
    "overflow": overflow.calibrated,
    "unobserved": overflow.unobserved,
    "underflow": underflow.claims,
    "angle": angles.claims,
    "discrete": discrete.claims,
    "ranked": ranked.claims,
}
"""By name, in the order in which they are asked: the first that claims a node names its rule."""

__all__ = ["RULES", "Claim", "Rule"]
