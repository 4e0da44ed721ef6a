"""What a rule says of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.precision.evidence import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A node has to have fp32 operands, an fp32 result, or both.

    Attributes:
        node: The node.
        reason: Why, in words, with the figure that decided.
        operands: Whether its operands must not be rounded.
        result: Whether its result must not be rounded.
    """

    node: ir.Node
    reason: str
    operands: bool = True
    result: bool = True


Rule = Callable[[Evidence], Iterator[Claim]]
