"""The plans that a search may choose from: which nodes must be fp32, and which may.

What static reasoning or the calibrated ranges keep out of the low format stays out, whatever samples say: constants and
what they reach, overflow within the margin, underflow, angles, integers, recurrences, and the user's own patterns.
What is fp32 for precision alone (normalisations, softmax) may be freed; every other node that computes may be added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import onnx_ir as ir

from pipeline.core.artifacts import ActivationRanges, Decision, Kept
from pipeline.core.formats import Format
from pipeline.graph import modules
from pipeline.precision.evidence import Evidence
from pipeline.precision.policy import policies
from pipeline.precision.policy.policy_file import Settings
from pipeline.precision.rules import Claim
from pipeline.precision.semantics import WEIGHTED, Movement, OpSemantics

SEARCHED = frozenset({"norm", "softmax"})
"""Rules whose claims rest on precision, not on range: a search decides instead of them."""

RULE = "search"
OPEN = frozenset({"default", "accumulator", "attention", "neighbours"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A node that may be fp32 or not.

    Attributes:
        node: Its name.
        op: Its operator.
        kind: `norm`, `softmax`, `attention`, `product`, `reduction` or `elementwise`.
        module: Path of its `nn.Module`.
        position: Its position in graph order.
    """

    node: str
    op: str
    kind: str
    module: str
    position: int


@dataclass(slots=True, kw_only=True)
class Space:
    """Every plan that a search may choose; a plan is the set of candidates that it has in fp32.

    Attributes:
        evidence: The graph and what is known of its tensors.
        settings: The policy that it starts from.
        ranges: What its tensors held in calibration.
        given: Formats that the model arrived with.
        candidates: Nodes that may be either, in graph order.
        default: Those that the default policy has in fp32.
        kept: Those that stay fp32 whatever is chosen.
    """

    evidence: Evidence
    settings: Settings
    ranges: ActivationRanges
    given: Mapping[str, Format]
    candidates: tuple[Candidate, ...] = ()
    default: frozenset[str] = frozenset()
    kept: tuple[Kept, ...] = ()
    _nodes: dict[str, ir.Node] = field(default_factory=dict)
    _decider: policies.Decider = field(init=False)

    def __post_init__(self) -> None:
        self._nodes = {str(node.name): node for node in self.evidence.rows}
        claims = tuple(policies.asked(self.evidence, self.settings))
        must = [(rule, claim) for rule, claim in claims if rule not in SEARCHED]
        self._decider = policies.Decider(self.evidence, self.settings, self.given, must)
        searched = {str(claim.node.name): rule for rule, claim in reversed(claims) if rule in SEARCHED}
        least = self.decisions(())
        opened = [item for item in least if item.rule in OPEN and self._computes(item)]
        self.candidates = tuple(self._candidates(opened, searched))
        self.default = frozenset(item.node for item in opened if item.node in searched)
        self.kept = tuple(
            Kept(node=item.node, rule=item.rule, reason=item.reason)
            for item in least
            if item.rule not in OPEN and Format.FP32 in (item.operands, item.result)
        )

    def decisions(self, wide: Collection[str], reasons: Mapping[str, str] | None = None) -> tuple[Decision, ...]:
        """The plan that has the candidates `wide` in fp32, and what follows from that.

        Args:
            wide: Names of candidates.
            reasons: Why, by name.
        """
        return self._decider.decisions(self._claims(wide, reasons or {}))

    def formats(self, wide: Collection[str]) -> tuple[Decision, ...]:
        """The same plan without what its decisions rest on: enough to price it, and to try it."""
        return self._decider.formats(self._claims(wide, {}))

    def default_decisions(self) -> tuple[Decision, ...]:
        """The default policy's plan."""
        return policies.decide(self.evidence, self.settings, self.given)

    def _claims(self, wide: Collection[str], reasons: Mapping[str, str]) -> policies.Claims:
        for name, node in self._nodes.items():
            if name in wide:
                yield RULE, Claim(node=node, reason=reasons.get(name, "the error budget asks for it"))

    def _computes(self, decision: Decision) -> bool:
        return self.evidence.rows[self._nodes[decision.node]].movement is not Movement.EXACT

    def _candidates(self, opened: Iterable[Decision], searched: Mapping[str, str]) -> Iterator[Candidate]:
        cores = {product for core in self.evidence.cores for product in (core.scores, core.values)}
        positions = {name: position for position, name in enumerate(self._nodes)}
        for decision in opened:
            node = self._nodes[decision.node]
            yield Candidate(
                node=decision.node,
                op=decision.op,
                kind=searched.get(decision.node) or ("attention" if node in cores else _kind(self.evidence.rows[node])),
                module=modules.module_of(node),
                position=positions[decision.node],
            )


def _kind(row: OpSemantics) -> str:
    if row.op in WEIGHTED:
        return "product"
    return "reduction" if row.sums else "elementwise"


def of(evidence: Evidence, settings: Settings, ranges: ActivationRanges, given: Mapping[str, Format]) -> Space:
    """The space of one model under a policy that starts from `sensitive`."""
    return Space(evidence=evidence, settings=replace(settings, name=RULE), ranges=ranges, given=given)
