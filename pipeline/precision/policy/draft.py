"""A decision while it is being made."""

from __future__ import annotations

from dataclasses import dataclass, replace

import onnx_ir as ir

from pipeline.core.artifacts import Decision, Floor
from pipeline.core.formats import Format
from pipeline.graph import modules


@dataclass(slots=True, kw_only=True)
class Draft:
    """What is decided of one node so far.

    Attributes:
        operands: Format of its operands; None where it has no float operand.
        accumulator: Format of its accumulator where that is wider than its operands'.
        result: Format of its results; None where it has no float result.
        rule: Name of the rule that decided.
        reasons: Why; the first is the rule's.
        claimed: Whether a rule decided it, so that it does not follow its neighbours.
        pinned: Whether the user or the model itself decided it, so that nothing else may change it.
        floors: What holds masked elements where the node is in a narrow format.
    """

    operands: Format | None
    accumulator: Format | None = None
    result: Format | None
    rule: str
    reasons: list[str]
    claimed: bool = False
    pinned: bool = False
    floors: tuple[Floor, ...] = ()

    @property
    def computes_in(self) -> Format | None:
        """Format of the node itself."""
        return self.accumulator or self.operands or self.result

    def widen(self, format_: Format, *, operands: bool, result: bool) -> bool:
        """Let operands, result or both be no narrower than a format. Returns whether that changed anything."""
        before = (self.operands, self.result)
        if operands and self.operands is not None and self.operands.width < format_.width:
            self.operands = format_
        if result and self.result is not None and self.result.width < format_.width:
            self.result = format_
        return before != (self.operands, self.result)

    def use(self, format_: Format) -> None:
        """Put operands and result, where there are any, in one format."""
        self.operands = format_ if self.operands is not None else None
        self.result = format_ if self.result is not None else None
        self.accumulator = None

    def copy(self) -> Draft:
        """A draft of its own, decided so far as this one."""
        return replace(self, reasons=list(self.reasons))

    def decision(self, node: ir.Node) -> Decision:
        """The finished decision."""
        return Decision(
            node=str(node.name),
            op=node.op_type,
            module=modules.module_of(node),
            operands=self.operands,
            accumulator=self.accumulator,
            result=self.result,
            rule=self.rule,
            reason="; ".join(self.reasons),
            floors=self.floors,
        )
