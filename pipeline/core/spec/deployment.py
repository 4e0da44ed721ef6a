"""How precision is decided, what may differ, and how the plan is built."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pipeline.core.formats import Format
from pipeline.core.spec.data import TaskSpec


class Policy(StrEnum):
    """A named precision policy; any other value of `precision.policy` is the path of a policy file."""

    SENSITIVE = "sensitive"
    ALL_FP16 = "all-fp16"
    ALL_FP32 = "all-fp32"
    SEARCH = "search"


class CostSource(StrEnum):
    """Where a search has from what plans cost."""

    COUNTED = "counted"
    MEASURED = "measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSpec:
    """What a search for the cheapest plan is allowed (policy `search`).

    Attributes:
        sqnr_db: Floor of every output's SQNR instead of `tolerances.output_sqnr_db`, in dB.
        atol: Absolute tolerance of outputs instead of `tolerances.output_atol`.
        rtol: Relative tolerance of outputs instead of `tolerances.output_rtol`.
        task: Largest worsening of the task metric instead of `task.tolerance`.
        samples: Calibration samples that plans are tried on, the first ones.
        trials: Plans that are tried at most.
        cost: Whether costs are counted on the graph alone, or plans that are to be decided between are also built for
            the GPU at hand and timed on it.
    """

    sqnr_db: float | None = None
    atol: float | None = None
    rtol: float | None = None
    task: float | None = None
    samples: int = 8
    trials: int = 100
    cost: CostSource = CostSource.COUNTED

    def __post_init__(self) -> None:
        for name in ("sqnr_db", "atol", "rtol", "task"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")
        if not (self.samples >= 1 and self.trials >= 2):
            raise ValueError(f"samples must be at least 1 and trials at least 2, got {self.samples} and {self.trials}")

    def tolerances(self, given: ToleranceSpec) -> ToleranceSpec:
        """What outputs may differ by."""
        return replace(
            given,
            output_sqnr_db=given.output_sqnr_db if self.sqnr_db is None else self.sqnr_db,
            output_atol=given.output_atol if self.atol is None else self.atol,
            output_rtol=given.output_rtol if self.rtol is None else self.rtol,
        )

    def worsening(self, task: TaskSpec) -> float:
        """What the task metric may worsen by."""
        return task.tolerance if self.task is None else self.task


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionSpec:
    """How precision is decided.

    Attributes:
        policy: `sensitive`, `all-fp16`, `all-fp32`, `search`, or the path of a policy file relative to `engine.toml`.
        low: The low format.
        accumulator: Format of GEMM accumulators: `fp32` (asked for with Casts) or `fp16` (whatever TensorRT takes).
        overflow_margin: A calibrated magnitude within this factor of the format's largest number counts as an overflow.
        underflow_share: Share of nonzero elements that may be lost to underflow before a node is kept in fp32.
        range_format: Format of what the low format cannot hold although its precision would do: `fp32`, or `bf16`,
            which has the range of fp32 and an eighth of fp16's precision. Where a target has no bf16 (7.5) it is fp32.
        rescale: Whether linear layers that leave the low format's range are held times a power of two, which changes no
            bit in fp32. Where none does, nothing is changed.
        rescale_share: Share of the weights of a layer, and of the elements of an activation, that may become subnormal
            by it; a layer that would lose more is not rescaled.
        compensate: Whether the mean error that rounding adds to a linear layer is taken out through its bias, where
            that lowers the error on samples that it was not measured on.
        search: What a search is allowed, where the policy is `search`.
        fp32: Patterns (fnmatch) over node names and module paths to keep in fp32.
        bf16: Patterns to put in bf16.
        fp16: Patterns to put in the low format against the rules; applied last.
    """

    policy: str = Policy.SENSITIVE
    low: Format = Format.FP16
    accumulator: Format = Format.FP32
    overflow_margin: float = 4.0
    underflow_share: float = 0.5
    range_format: Format = Format.FP32
    rescale: bool = True
    rescale_share: float = 0.0
    compensate: bool = False
    search: SearchSpec = field(default_factory=SearchSpec)
    fp32: tuple[str, ...] = ()
    bf16: tuple[str, ...] = ()
    fp16: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.low not in (Format.FP16, Format.BF16):
            raise ValueError(f"low must be fp16 or bf16, got {self.low}")
        if self.accumulator not in (Format.FP32, self.low):
            raise ValueError(f"accumulator must be fp32 or {self.low}, got {self.accumulator}")
        if self.range_format not in (Format.FP32, Format.BF16):
            raise ValueError(f"range_format must be fp32 or bf16, got {self.range_format}")
        if not 1.0 <= self.overflow_margin < math.inf:
            raise ValueError(f"overflow_margin must be at least 1, got {self.overflow_margin}")
        if not 0.0 <= self.underflow_share <= 1.0:
            raise ValueError(f"underflow_share must lie in 0..1, got {self.underflow_share}")
        if not 0.0 <= self.rescale_share <= 1.0:
            raise ValueError(f"rescale_share must lie in 0..1, got {self.rescale_share}")

    def without_search(self) -> PrecisionSpec:
        """How precision is decided before a search, or where there is none."""
        policy = Policy.SENSITIVE if self.policy == Policy.SEARCH else self.policy
        return replace(self, policy=policy, search=SearchSpec())


@dataclass(frozen=True, slots=True, kw_only=True)
class ToleranceSpec:
    """What a comparison may differ by.

    Attributes:
        output_atol: Absolute tolerance of graph outputs (Polygraphy's comparator).
        output_rtol: Relative tolerance of graph outputs (Polygraphy's comparator).
        output_sqnr_db: Floor of every graph output's SQNR, in dB.
        layer_slack_db: A layer is bad when its SQNR is more than this under the rounding noise expected there, in dB.
        export_atol: Absolute tolerance of the ONNX model against the PyTorch module, both in fp32.
    """

    output_atol: float = 5e-2
    output_rtol: float = 5e-2
    output_sqnr_db: float = 40.0
    layer_slack_db: float = 12.0
    export_atol: float = 1e-3

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative, got {value}")


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpec:
    """How the plan is built.

    Attributes:
        targets: Compute capabilities, such as `8.9`, for TensorRT-RTX (no GPU needed), or `gpu` for TensorRT on the
            GPU at hand.
        workspace_mib: Workspace limit in MiB; set explicitly because it changes the bytes of the plan.
        tf32: Whether fp32 matrix products may use TF32.
        debug_tensors: Whether the plan can hand out its unfused tensors for validation on a GPU; that keeps its fusions
            and changes its bytes.
    """

    targets: tuple[str, ...] = ("8.6", "8.9", "12.0")
    workspace_mib: int = 1024
    tf32: bool = False
    debug_tensors: bool = False

    def __post_init__(self) -> None:
        if not self.targets:
            raise ValueError('targets must name at least one compute capability, such as "8.9"')
        known = {"7.5", "8.0", "8.6", "8.9", "12.0", "12.1", "gpu"}
        strangers = [target for target in self.targets if target not in known]
        if strangers:
            offered = ", ".join(sorted(known - {"gpu"}))
            raise ValueError(f"unknown targets {strangers}; TensorRT-RTX builds for {offered}, TensorRT for 'gpu'")
        if self.workspace_mib < 1:
            raise ValueError(f"workspace_mib must be at least 1, got {self.workspace_mib}")
