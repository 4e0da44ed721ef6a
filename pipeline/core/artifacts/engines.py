"""Serialized TensorRT plans and the kernels in them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.core.artifacts.models import Check

CAST = "cast::"
"""What the names of inserted Casts start with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One kernel entry of a plan's text.

    Attributes:
        kind: Its kind in the text: `function`, `fully_connected`, `corrltn`, `runtime_fusion`, …
        name: Its name, such as `_gemm_mha_v2`.
        nodes: ONNX nodes that it names, in order.
        accumulation: `accumulation_type` of a GEMM as written, or None where the text has none.
        operands: Types of the two operands of its GEMM or convolution, else of all its tensor inputs, each once
            (`half`, `float`, …); empty where not observable.
        results: Type of its GEMM's or convolution's result, else of all its outputs, each once; likewise.
    """

    kind: str
    name: str
    nodes: tuple[str, ...]
    accumulation: int | None = None
    operands: tuple[str, ...] = ()
    results: tuple[str, ...] = ()

    @property
    def fused_attention(self) -> bool:
        """Whether this is one kernel for a whole attention."""
        return "mha" in self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanText:
    """What a TensorRT-RTX plan says of itself, read without a GPU.

    Attributes:
        version: Version in the header, or None if the header is not one that was tested.
        targets: Compute capabilities in the header's mask.
        kernels: Kernel entries; empty where `version` is None.
    """

    version: str | None
    targets: tuple[str, ...]
    kernels: tuple[Kernel, ...]

    @property
    def fused_attentions(self) -> int:
        """Number of fused attention kernels."""
        return sum(kernel.fused_attention for kernel in self.kernels)

    @property
    def cast_kernels(self) -> int:
        """Number of kernels that do nothing but Casts that this project inserted: what fusion could not take in."""
        return sum(
            bool(kernel.nodes) and all(node.startswith(CAST) for node in kernel.nodes) for kernel in self.kernels
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionBaseline:
    """Kernels of the all-low-format plan: what marking must not break.

    Attributes:
        attentions: Attention cores found in the graph (Softmax between two MatMuls).
        target: Compute capability that it was built for.
        plan: Its kernels; None where no such plan can be built here.
        reason: Why `plan` is None.
    """

    attentions: int
    target: str | None = None
    plan: PlanText | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostFusion:
    """Fused kernels of the all-low plan whose nodes are in several kernels of the mixed plan.

    Attributes:
        kernels: Their names in the all-low plan.
        nodes: Nodes that compute in them, in graph order.
        now: Names of the kernels that share these nodes now.
        more_kernels: Kernels more than in the all-low plan; 0 where the nodes are only grouped otherwise.
        more_bytes: Bytes more that are written and read between these kernels, at the optimum of every axis; negative
            where the new grouping moves less.
        decision: Node whose decision lost it, or None.
        rule: The rule behind that decision.
        reason: Its reason, or why there is none.
    """

    kernels: tuple[str, ...]
    nodes: tuple[str, ...]
    now: tuple[str, ...]
    more_kernels: int
    more_bytes: int
    decision: str | None
    rule: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlan:
    """One serialized TensorRT plan.

    Attributes:
        path: The `.plan` file.
        log: TensorRT's log of the build.
        flavour: `tensorrt-rtx` or `tensorrt`.
        version: Version of the library that built it.
        targets: Compute capabilities that it was built for.
        digest: SHA-256 of the file.
        size: Bytes.
        flags: What was set, by name, such as `BuilderFlag.TF32`.
        tf32: Whether TF32 was allowed.
        workspace_mib: Workspace limit.
        profiles: Input name to (min, opt, max) shapes.
        text: Kernels, where the plan can be read.
        checks: Delivered-precision checks.
        warnings: TensorRT's warnings, each once.
        seconds: Time the build took.
        lost: Fused kernels of the all-low plan that this plan lost; empty where either cannot be read.
        timing_cache: TensorRT's tactic timings that decided it; None where there are none (TensorRT-RTX).
    """

    path: Path
    log: Path
    flavour: str
    version: str
    targets: tuple[str, ...]
    digest: str
    size: int
    flags: tuple[str, ...]
    tf32: bool
    workspace_mib: int
    profiles: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
    text: PlanText | None
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    seconds: float
    lost: tuple[LostFusion, ...] = ()
    timing_cache: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlans:
    """All plans of one engine: one for the targets that share a plan, one each for those that cannot."""

    plans: tuple[EnginePlan, ...]

    def __post_init__(self) -> None:
        if not self.plans:
            raise ValueError("no plan was built")
