"""The second check of delivered precision: what the text of a plan says of every planned node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import onnx_ir as ir

from pipeline.analysis.delivery.constants import constant_nodes
from pipeline.analysis.delivery.delivered import computed_in
from pipeline.core.artifacts import Check, Decision, Kernel, PlanText, PrecisionPlan
from pipeline.core.formats import Format
from pipeline.precision import semantics
from pipeline.precision.semantics import Movement

TYPES = {Format.FP32: "float", Format.TF32: "float", Format.FP16: "half", Format.BF16: "bf16"}
"""Name of the type that stores a format, as plan texts write it."""

FP32_ACCUMULATION = 2
"""`accumulation_type` of a GEMM that was asked for fp32 sums.

The meaning is inferred: it appears where, and only where, a low-format GEMM stands between Casts to and from fp32; a
plain one shows 0.
"""

FUSION = "runtime_fusion"
"""Kind of a product with what is fused to it; its name has four letters of each operator."""

_PRODUCTS = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})
_NORMS = frozenset(
    {
        "BatchNormalization",
        "GroupNormalization",
        "InstanceNormalization",
        "LayerNormalization",
        "LogSoftmax",
        "LpNormalization",
        "Softmax",
    }
)


def built(plan: PrecisionPlan, mixed: ir.Model, text: PlanText | None) -> Check:
    """Compare every planned node with the kernels that a plan names.

    Args:
        plan: The decisions.
        mixed: The graph that was built.
        text: The plan's text; None where this flavour's plans cannot be read.

    Returns:
        A check that fails where a node is in no kernel and nothing explains it, or a GEMM's operands or accumulator are
        not the planned ones. A plan that cannot be read passes with that said in `unobservable`, and nothing claimed.
    """
    if text is None or text.version is None:
        return _unreadable(text)
    kernels = _by_node(text)
    problems: list[str] = []
    explained: Counter[str] = Counter()
    reasons = _Absences(mixed, kernels)
    for decision in plan.decisions:
        if decision.node not in kernels:
            reason = reasons.of(decision)
            explained[reason or ""] += 1
            if reason is None:
                problems.append(f"{decision.node} ({decision.op}): in no kernel of the plan, and nothing explains it")
        elif decision.op in _PRODUCTS:
            problems.extend(_product_problems(decision, kernels[decision.node]))
    seen = len(plan.decisions) - sum(explained.values())
    absent = sum(explained.values()) - explained.pop("", 0)
    return Check(
        name="built",
        passed=not problems,
        summary=(
            f"{seen} planned nodes in {len(text.kernels)} kernels, {absent} explained, {len(problems)} problems; "
            f"{_accumulators(plan, kernels)}"
        ),
        problems=tuple(problems),
        unobservable=(
            *(f"{count} nodes in no kernel: {reason}" for reason, count in sorted(explained.items())),
            *_hidden(plan, kernels),
        ),
    )


def _unreadable(text: PlanText | None) -> Check:
    what = "plans of TensorRT proper hold no readable text" if text is None else "the plan has an unknown version"
    return Check(
        name="built",
        passed=True,
        summary=f"not observed: {what}",
        unobservable=(f"what the builder made of every planned node: {what}",),
    )


def _by_node(text: PlanText) -> dict[str, list[Kernel]]:
    kernels: dict[str, list[Kernel]] = {}
    for kernel in text.kernels:
        for node in kernel.nodes:
            kernels.setdefault(node, []).append(kernel)
    return kernels


class _Absences:
    """Why a node may be in no kernel."""

    def __init__(self, mixed: ir.Model, kernels: Mapping[str, list[Kernel]]) -> None:
        self.nodes = {str(node.name): node for node in mixed.graph}
        self.constants = constant_nodes(mixed.graph)
        self.kernels = kernels

    def of(self, decision: Decision) -> str | None:
        """The reason, or None where there is none that this project knows."""
        node = self.nodes.get(decision.node)
        if node is None:
            return None
        if decision.node in self.constants:
            return "constant, folded before the build"
        movement = semantics.of(node).movement
        if decision.result is None or movement is Movement.INTEGER:
            return "computes shapes, indices or conditions, on the host or inside its readers"
        if movement is Movement.EXACT:
            return "moves data only, done by how its neighbours address memory"
        if movement in (Movement.STATEFUL, Movement.CONTROL):
            return f"{decision.op}: TensorRT makes a loop or a branch of it, whose kernels name no node"
        if decision.op == "Cast":
            return "a Cast that its neighbours do while they read or write"
        return self._beside(node)

    def _beside(self, node: ir.Node) -> str | None:
        """Why a node that computes may be in no kernel."""
        if self._is_folded(node):
            return "scale or shift by a constant, folded into the product beside it"
        if self._is_named(node):
            return "an activation that the kernel of the product before it is named after"
        if node.op_type in ("Add", "Sub") and any(map(_is_zero, node.inputs)):
            return "adds nothing but zeros"
        return None

    def _is_folded(self, node: ir.Node) -> bool:
        """Whether `node` scales or shifts, by a constant, what leaves or enters a product that is in a kernel."""
        if node.op_type not in ("Add", "BatchNormalization", "Div", "Mul", "Sub") or not self._has_constant(node):
            return False
        return any(str(p.name) in self.kernels for p in (*_producers(node), *_readers(node)) if p.op_type in _PRODUCTS)

    def _is_named(self, node: ir.Node) -> bool:
        """Whether the product before `node` is in a fusion whose name, such as `__myl_DecoElu`, has it."""
        makers = [str(maker.name) for maker in _producers(node) if maker.op_type in _PRODUCTS]
        kernels = [kernel for maker in makers for kernel in self.kernels.get(maker, ())]
        return any(node.op_type[:4].capitalize() in kernel.name for kernel in kernels if kernel.kind == FUSION)

    def _has_constant(self, node: ir.Node) -> bool:
        makers = [(value, value.producer()) for value in node.inputs if value is not None]
        return any(value.is_initializer() or (p is not None and str(p.name) in self.constants) for value, p in makers)


def _is_zero(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None and not value.const_value.numpy().any()


def _producers(node: ir.Node) -> Iterator[ir.Node]:
    """What `node` reads, looking through nodes that only move or cast."""
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer is not None:
            yield from _producers(producer) if _passes(producer) else (producer,)


def _readers(node: ir.Node) -> Iterator[ir.Node]:
    """What reads `node`, looking through nodes that only move or cast."""
    for value in node.outputs:
        for use in value.uses():
            yield from _readers(use.node) if _passes(use.node) else (use.node,)


def _passes(node: ir.Node) -> bool:
    return node.op_type in ("Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")


def _multiplies(kernel: Kernel) -> bool:
    """Whether the text shows a GEMM or convolution: a `function` that names one may only pad or move its operands."""
    return kernel.kind != "function"


def _product_problems(decision: Decision, kernels: list[Kernel]) -> Iterator[str]:
    """What differs from the plan in a GEMM or convolution."""
    where = f"{decision.node} ({decision.op})"
    for kernel in filter(_multiplies, kernels):
        if decision.operands is None:
            continue
        wanted = TYPES[decision.operands]
        if kernel.operands and kernel.operands != (wanted,):
            yield f"{where}: {kernel.name} multiplies {' and '.join(kernel.operands)}, planned {wanted}"
        elif _accumulates_narrowly(decision, kernel):
            yield f"{where}: {kernel.name} shows accumulation_type {kernel.accumulation}, planned fp32 accumulation"


def _accumulates_narrowly(decision: Decision, kernel: Kernel) -> bool:
    asked = decision.accumulator is Format.FP32 and decision.operands in (Format.FP16, Format.BF16)
    return asked and kernel.accumulation is not None and kernel.accumulation != FP32_ACCUMULATION


def _accumulators(plan: PrecisionPlan, kernels: Mapping[str, list[Kernel]]) -> str:
    """How many low-format products that ask for fp32 sums show them."""
    asked = [d for d in plan.decisions if d.accumulator is Format.FP32 and d.operands in (Format.FP16, Format.BF16)]
    shown = sum(
        any(kernel.accumulation == FP32_ACCUMULATION for kernel in kernels.get(decision.node, ())) for decision in asked
    )
    share = f"{shown} of {len(asked)}"
    return f"{share} products planned with fp32 sums show accumulation_type {FP32_ACCUMULATION} (meaning inferred)"


def _hidden(plan: PrecisionPlan, kernels: Mapping[str, list[Kernel]]) -> Iterator[str]:
    """What a kernel does inside and does not show, one line for each kind of kernel and its types."""
    groups: Counter[str] = Counter()
    for decision in plan.decisions:
        groups.update(set(_hidden_in(decision, kernels.get(decision.node, []))))
    yield from (f"{count} {group}" for group, count in sorted(groups.items()))


def _hidden_in(decision: Decision, kernels: list[Kernel]) -> Iterator[str]:
    attention = [kernel for kernel in kernels if kernel.fused_attention]
    if attention:
        if decision.op in ("Softmax", "LogSoftmax"):
            yield from (
                f"fused attention in {k.name} ({_types(k)}): accumulators and softmax not observable" for k in attention
            )
    elif decision.op in _NORMS or (decision.rule == "norm" and decision.op.startswith("Reduce")):
        planned = f"{decision.op} planned {computed_in(decision)}"
        yield from (f"{planned} ({_types(k)}): what it computes in is not observable" for k in kernels)
    elif decision.op in _PRODUCTS:
        products = [kernel for kernel in kernels if _multiplies(kernel)]
        hidden = [k for k in products if k.accumulation is None or not k.operands] if products else kernels
        yield from (f"{decision.op} in a {k.kind} kernel ({_types(k)}): accumulator not observable" for k in hidden)
    elif kernels and decision.operands is not None:
        yield "other float nodes: their kernels show the types of inputs and outputs, not those between fused nodes"


def _types(kernel: Kernel) -> str:
    return f"reads {'+'.join(kernel.operands) or '?'}, writes {'+'.join(kernel.results) or '?'}"
