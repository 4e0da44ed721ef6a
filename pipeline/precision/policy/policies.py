"""From a policy to one decision a node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.core.artifacts import Decision, Floor
from pipeline.core.errors import PrecisionError
from pipeline.core.formats import Format
from pipeline.core.spec import Policy
from pipeline.graph import io, modules
from pipeline.precision import semantics
from pipeline.precision.admitted import admits
from pipeline.precision.evidence import Evidence, float_operands, float_results
from pipeline.precision.policy import basis, patterns
from pipeline.precision.policy.draft import Draft
from pipeline.precision.policy.neighbours import Neighbours
from pipeline.precision.policy.policy_file import Patterns, Settings
from pipeline.precision.rules import RULES, Claim
from pipeline.precision.semantics import CONVOLUTIONS, Movement, OpSemantics

Drafts = dict[ir.Node, Draft]


Claims = Iterable[tuple[str, Claim]]
"""Claims, each with the name of its rule, in the order in which they count."""


def asked(evidence: Evidence, settings: Settings) -> Claims:
    """What the rules of a policy claim."""
    return tuple((rule, claim) for rule in settings.rules for claim in RULES[rule](evidence))


def decide(evidence: Evidence, settings: Settings, given: Mapping[str, Format]) -> tuple[Decision, ...]:
    """One decision a node of the main graph, in graph order. See `Decider`."""
    return Decider(evidence, settings, given, asked(evidence, settings)).decisions()


class Decider:
    """A policy on one graph: made once, asked for one plan after another, each by the claims that are added for it.

    Args:
        evidence: The graph and what is known of its tensors.
        settings: The policy.
        given: Formats that the model arrived with, by node name. They are its plan where the policy is `sensitive`.
        claims: What holds in every plan.

    Raises:
        PrecisionError: A pattern matches nothing, or asks for what ONNX has no types for.
    """

    def __init__(self, evidence: Evidence, settings: Settings, given: Mapping[str, Format], claims: Claims) -> None:
        self._evidence, self._settles = evidence, settings.base is Policy.SENSITIVE
        self._start = _start(evidence, settings)
        if given and settings.name == Policy.SENSITIVE:
            _take_given(self._start, given)
        _take_claims(self._start, claims)
        self._asked = tuple(_requests(evidence, self._start, settings))
        self._neighbours = Neighbours(evidence)

    def decisions(self, claims: Claims = ()) -> tuple[Decision, ...]:
        """One decision a node of the main graph, in graph order, with what it rests on."""
        return tuple(basis.decided(self._evidence, node, draft) for node, draft in self._drafts(claims).items())

    def formats(self, claims: Claims = ()) -> tuple[Decision, ...]:
        """The same without what they rest on, in a third of the time: enough to price a plan, and to try it."""
        return tuple(draft.decision(node) for node, draft in self._drafts(claims).items())

    def _drafts(self, claims: Claims) -> Drafts:
        drafts = {node: draft.copy() for node, draft in self._start.items()}
        _take_claims(drafts, claims)
        for request in self._asked:
            _take_request(drafts, request)
        if self._settles:
            _fix_accumulators(self._evidence, drafts)
            self._neighbours.settle(drafts)
            _hold_masks(self._evidence, drafts)
        _tell_of_rescaling(drafts)
        return drafts


def _tell_of_rescaling(drafts: Drafts) -> None:
    for node, draft in drafts.items():
        if modules.RESCALED in node.metadata_props:
            draft.reasons.append(node.metadata_props[modules.RESCALED])


def _hold_masks(evidence: Evidence, drafts: Drafts) -> None:
    """Let narrow nodes between a mask and its Softmax read and make finite numbers."""
    for node, held in evidence.masks.held.items():
        draft = drafts[node]
        formats = {draft.result if value.producer() is node else draft.operands for value in held}
        if formats - {None, Format.FP32}:
            draft.floors = tuple(Floor(tensor=str(value.name), value=item.floor) for value, item in held.items())
            draft.reasons.append(evidence.masks.reasons[node])


def uniform(model: ir.Model, format_: Format) -> tuple[Decision, ...]:
    """Every node in one format, nothing fixed: what is not typed so, or holds subgraphs, stays fp32.

    Raises:
        GraphError: An operator has no semantics.
    """
    rows = {node: semantics.of(node, model.functions.keys()) for node in model.graph}
    drafts = _uniform_drafts(model, rows, format_, f"policy all-{format_}")
    return tuple(draft.decision(node) for node, draft in drafts.items())


def _start(evidence: Evidence, settings: Settings) -> Drafts:
    base = Format.FP32 if settings.base is Policy.ALL_FP32 else evidence.low
    drafts = _uniform_drafts(evidence.model, evidence.rows, base, f"policy {settings.base}")
    if settings.base is Policy.SENSITIVE:
        for node, draft in drafts.items():
            if draft.rule == "policy" or _could_sum_low(evidence, node, draft):
                draft.use(evidence.low)
                draft.rule, draft.reasons, draft.claimed = "default", [_unclaimed(evidence, node)], False
    return drafts


def _could_sum_low(evidence: Evidence, node: ir.Node, draft: Draft) -> bool:
    """Whether a node that ONNX does not type low computes in fp32 anyway, on operands that are rounded before."""
    return draft.rule == "types" and evidence.rows[node].sums and evidence.spec.accumulator is Format.FP32


def _uniform_drafts(model: ir.Model, rows: dict[ir.Node, OpSemantics], format_: Format, policy: str) -> Drafts:
    opset = io.opset(model)
    return {node: _uniform_draft(node, row, format_, policy, opset) for node, row in rows.items()}


def _uniform_draft(node: ir.Node, row: OpSemantics, format_: Format, policy: str, opset: int) -> Draft:
    reads, makes = any(True for _ in float_operands(node, row)), any(True for _ in float_results(node, row))
    if not (reads or makes):
        reason = "computes on integers and booleans, or only on their shapes"
        return Draft(operands=None, result=None, rule="integer", reasons=[reason])
    rule, reason = "policy", policy
    if format_ is not Format.FP32 and not admits(node, row, opset, format_):
        rule, reason = _forced(node, row, format_, opset)
        format_ = Format.FP32
    return Draft(
        operands=format_ if reads else None,
        result=format_ if makes else None,
        rule=rule,
        reasons=[reason],
        claimed=rule != "policy",
    )


def _forced(node: ir.Node, row: OpSemantics, format_: Format, opset: int) -> tuple[str, str]:
    if row.movement is Movement.CONTROL:
        return "control", f"{node.op_type} is kept whole: what it holds was not observed node by node"
    return "types", f"ONNX opset {opset} has no {format_} {node.op_type}"


def _unclaimed(evidence: Evidence, node: ir.Node) -> str:
    row = evidence.rows[node]
    known = [evidence.extents.get(value) for value in (*float_operands(node, row), *float_results(node, row))]
    largest = max((extent.magnitude for extent in known if extent is not None), default=0.0)
    return f"no rule asks for more than {evidence.low}: magnitudes up to {largest:.3g}"


def _take_given(drafts: Drafts, given: Mapping[str, Format]) -> None:
    for node, draft in drafts.items():
        format_ = given.get(str(node.name))
        if format_ is None or draft.rule != "default":
            continue
        draft.use(format_)
        draft.rule, draft.reasons = "given", [f"the model arrived with this node in {format_}"]
        draft.pinned = True


def _take_claims(drafts: Drafts, claims: Claims) -> None:
    for rule, claim in claims:
        draft = drafts[claim.node]
        if not draft.pinned:
            _claim(draft, rule, claim)


def _claim(draft: Draft, rule: str, claim: Claim) -> None:
    widened = draft.widen(claim.format, operands=claim.operands, result=claim.result)
    if not draft.claimed:
        draft.rule, draft.reasons, draft.claimed = rule, [claim.reason], True
    elif widened and draft.rule != rule:
        draft.reasons.append(claim.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A user's word on some nodes: the format they are to have, and for each the reason."""

    format: Format
    reasons: Mapping[ir.Node, str]


def _requests(evidence: Evidence, drafts: Drafts, settings: Settings) -> Iterator[_Request]:
    for groups, format_ in (
        (settings.fp32, Format.FP32),
        (settings.bf16, Format.BF16),
        (settings.fp16, evidence.low),
    ):
        yield from (_request(evidence, drafts, group, format_) for group in groups)


def _request(evidence: Evidence, drafts: Drafts, group: Patterns, format_: Format) -> _Request:
    matched = patterns.matching(list(drafts), group.patterns, group.where)
    able = {n for n in matched if drafts[n].computes_in is not None and evidence.admits(n, format_)}
    if idle := sorted({matched[node] for node in matched} - {matched[node] for node in able}):
        raise PrecisionError(
            f"none of the nodes that '{idle[0]}' matches can compute in {format_}",
            where=group.where,
            hint="they hold integers, are kept whole, or ONNX has no such types for them; "
            "`trt-pipeline inspect MODEL --decisions` gives each node's reason",
        )
    return _Request(
        format=format_,
        reasons={node: f"{group.where} names it with '{matched[node]}'" for node in matched if node in able},
    )


def _take_request(drafts: Drafts, request: _Request) -> None:
    for node, reason in request.reasons.items():
        draft = drafts[node]
        draft.use(request.format)
        draft.rule, draft.reasons, draft.pinned = "user", [reason], True


def _fix_accumulators(evidence: Evidence, drafts: Drafts) -> None:
    """Give sums of low operands an fp32 accumulator, attention cores and convolutions apart."""
    cores = {product for core in evidence.cores for product in (core.scores, core.values)}
    for node, row in evidence.rows.items():
        draft = drafts[node]
        operands = draft.operands
        if not row.sums or operands in (None, Format.FP32) or draft.rule == "given":
            continue
        if draft.result is not None and draft.result.width > operands.width:
            draft.accumulator = Format.FP32
        elif node in cores and evidence.admits(node, operands) and draft.result is operands:
            _leave_to_attention(draft)
        elif row.op in CONVOLUTIONS and evidence.admits(node, operands):
            draft.reasons.append(_CONVOLVED)
        elif evidence.spec.accumulator is Format.FP32:
            draft.accumulator = Format.FP32
            draft.rule = "accumulator" if draft.rule == "default" else draft.rule
            draft.reasons.append(f"sums in fp32, which {operands} operands alone do not promise")


def _leave_to_attention(draft: Draft) -> None:
    if draft.claimed or draft.pinned:
        draft.reasons.append(_FUSED)
    else:
        draft.rule, draft.reasons = "attention", [_FUSED]


_FUSED = "product of an attention: the fused kernel sums in fp32 by itself, and Casts at its operands would break it up"
_CONVOLVED = "TensorRT takes the accumulator of a convolution itself: Casts at its operands do not change it"
