"""What a GPU adds to a verdict: tensors of the shipped plan and of a tapped one, and how long plans take."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.core.artifacts.differences import ErrorStats


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuAtHand:
    """The GPU of the machine that validates: a report made without one does not stand for a machine that has one.

    Attributes:
        names: Its name and compute capability, those of several with commas between them, or "".
        check: Whether to run a tapped engine beside the plan on it, and to time fp32, low and mixed engines.
    """

    names: str = ""
    check: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One tensor as two engines of the same graph compute it, each against the fp32 reference.

    Attributes:
        tensor: Its name in the reference.
        engine: The shipped plan: an output, or a debug tensor that no fusion took. None where it hands out neither.
        tapped: An engine with this and all other tensors for outputs, hence other fusions.
        apart_db: SQNR of the tapped engine's values against the shipped plan's, in dB; None where one has none.
        fusion_changes: Whether the two are further apart than the tensor's roundings explain.
    """

    tensor: str
    engine: ErrorStats | None
    tapped: ErrorStats | None
    apart_db: float | None
    fusion_changes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long one engine takes on a batch, from launch to done, inputs and outputs in the GPU's memory.

    Attributes:
        engine: `fp32`, the name of the low format for all of it, or `mixed` (the shipped plan).
        graphs: Whether the run is one CUDA graph.
        median_ms: Median.
        p99_ms: 99th percentile.
        runs: Runs counted, after the warm-up.
    """

    engine: str
    graphs: bool
    median_ms: float
    p99_ms: float
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuCheck:
    """What was found on the GPU beyond the outputs of the plan.

    Attributes:
        gpu: Its name.
        views: Tensors in graph order.
        latencies: Engines side by side.
        shapes: Shape of each input on which they were timed.
        notes: What could not be done, and why.
    """

    gpu: str
    views: tuple[View, ...]
    latencies: tuple[Latency, ...]
    shapes: dict[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()
