"""Which format each node computes in."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The precision of one node.

    Attributes:
        node: Node name.
        op: Operator type.
        module: Path of the `nn.Module` that it came from, or "".
        operands: Format of its float operands; None where it has none (integer and shape computation).
        accumulator: Format in which it sums; None where it does not sum or the format is the operands'.
        result: Format of its float results; None where it has none.
        rule: Name of the rule that decided.
        reason: In words, with the figure that decided.
    """

    node: str
    op: str
    module: str
    operands: Format | None
    accumulator: Format | None = None
    result: Format | None
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPlan:
    """One decision a node, in graph order.

    Attributes:
        model: Digest of the ONNX file that it was made for.
        policy: Name of the policy, or path of the policy file.
        low: The low format.
        decisions: One a node of the main graph, in graph order.
    """

    model: str
    policy: str
    low: Format
    decisions: tuple[Decision, ...]
