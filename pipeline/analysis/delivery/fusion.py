"""Attention: how many cores a graph has, and which of them a plan runs as one kernel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from pipeline.core.artifacts import Check, FusionBaseline, PlanText

_SCALE_AND_MASK = frozenset({"Add", "Clip", "Div", "IsNaN", "Mul", "Sub", "Tanh", "Where"})
_SAME_VALUES = frozenset({"Cast", "Dropout", "Expand", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_BETWEEN = _SCALE_AND_MASK | _SAME_VALUES
"""What may stand between a Softmax and its two products: scale, mask, soft cap, casts, guards, changes of shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionCore:
    """A Softmax between two products.

    Attributes:
        scores: Node of QK^T.
        softmax: Node of the Softmax.
        values: Node of P.V.
    """

    scores: str
    softmax: str
    values: str


def attention_cores(graph: ir.Graph) -> tuple[AttentionCore, ...]:
    """Attention cores of `graph`, in graph order."""
    return tuple(core for node in graph if node.op_type == "Softmax" for core in _core(node))


def lost(cores: tuple[AttentionCore, ...], plan: PlanText) -> tuple[AttentionCore, ...]:
    """Cores of which no fused attention kernel of `plan` names the Softmax."""
    fused = {node for kernel in plan.kernels if kernel.fused_attention for node in kernel.nodes}
    return tuple(core for core in cores if core.softmax not in fused)


def check(graph: ir.Graph, plan: PlanText | None, baseline: FusionBaseline) -> Check:
    """Compare the fused attentions of `plan` with those of the all-low plan.

    Args:
        graph: The graph that was built.
        plan: Its text; None where it cannot be read.
        baseline: The all-low plan of the same model.

    Returns:
        A check that fails where a plan has fewer fused attentions than the all-low plan, naming the lost ones. Where
        either cannot be read it passes with that said in `unobservable`, and nothing claimed.
    """
    cores = attention_cores(graph)
    if plan is None or plan.version is None:
        reason = "which attentions are fused: this plan's text cannot be read"
        return Check(name="fusion", passed=True, summary="not observed", unobservable=(reason,))
    missing = lost(cores, plan)
    if baseline.plan is None:
        reason = f"whether marking lost a fusion: there is no all-low plan ({baseline.reason})"
        return Check(name="fusion", passed=True, summary=_figures(cores, missing, plan), unobservable=(reason,))
    kept = plan.fused_attentions >= baseline.plan.fused_attentions
    problems = () if kept else tuple(f"{core.softmax}: this attention is not one kernel" for core in missing)
    return Check(
        name="fusion",
        passed=kept,
        summary=f"{_figures(cores, missing, plan)}; all-low plan: {_kernels(baseline.plan)}",
        problems=problems,
        unobservable=tuple(f"{core.softmax}: not one kernel, nor in the all-low plan" for core in missing)
        if kept
        else (),
    )


def _figures(cores: tuple[AttentionCore, ...], missing: tuple[AttentionCore, ...], plan: PlanText) -> str:
    nodes = sum(len(kernel.nodes) for kernel in plan.kernels)
    ratio = nodes / len(plan.kernels) if plan.kernels else 0.0
    fused = len(cores) - len(missing)
    return f"{len(plan.kernels)} kernels, {ratio:.1f} nodes a kernel, {fused} of {len(cores)} attentions fused"


def _kernels(plan: PlanText) -> str:
    return f"{len(plan.kernels)} kernels, {plan.fused_attentions} fused attentions"


def _core(softmax: ir.Node) -> Iterator[AttentionCore]:
    scores = _upstream(softmax)
    values = _downstream(softmax)
    if scores is not None and values is not None:
        yield AttentionCore(scores=str(scores.name), softmax=str(softmax.name), values=str(values.name))


def _upstream(softmax: ir.Node) -> ir.Node | None:
    """The product that the Softmax's operand comes from: the nearest one through scale and mask."""
    pending, seen = [value for value in softmax.inputs[:1] if value is not None], set()
    while pending:
        node = pending.pop(0).producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        if _is_product(node):
            return node
        if node.op_type in _BETWEEN:
            pending.extend(value for value in node.inputs if value is not None)
    return None


def _downstream(softmax: ir.Node) -> ir.Node | None:
    """The product that reads the probabilities as its first operand."""
    pending, seen = list(softmax.outputs), set()
    while pending:
        for use in pending.pop(0).uses():
            if use.node in seen:
                continue
            seen.add(use.node)
            if _is_product(use.node):
                return use.node
            if use.node.op_type in _BETWEEN:
                pending.extend(use.node.outputs)
    return None


def _is_product(node: ir.Node) -> bool:
    """A product of two activations: MatMul or Einsum without stored weights."""
    reads = [value for value in node.inputs if value is not None]
    return node.op_type in ("MatMul", "Einsum") and not any(value.is_initializer() for value in reads)
