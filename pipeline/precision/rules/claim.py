"""What a rule says of a node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.core.formats import Format
from pipeline.precision.evidence import Evidence


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A node has to have operands in a wider format than the low one, such a result, or both.

    Attributes:
        node: The node.
        reason: Why, in words, with the figure that decided.
        operands: Whether its operands must not be rounded.
        result: Whether its result must not be rounded.
        format: The narrowest format that will do: fp32, or bf16 where only the range of the low one does not.
    """

    node: ir.Node
    reason: str
    operands: bool = True
    result: bool = True
    format: Format = Format.FP32


Rule = Callable[[Evidence], Iterator[Claim]]
