"""What the build process is asked for and what it answers, as JSON-compatible records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.backends.tensorrt.flavour import Flavour

Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Minimum, optimum and maximum shape of one input."""

DISK_FULL = 28
"""Exit status of the build process where there was no room for what it wrote."""

NO_OPERATOR = "TensorRT has no such operator"
"""Stands in the errors of an answer where the parser knows no operator of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """One plan to build.

    Attributes:
        onnx: The strongly typed graph.
        plan: File that the plan is written to.
        flavour: TensorRT or TensorRT-RTX.
        targets: Compute capabilities; empty for the GPU at hand (TensorRT).
        workspace_mib: Workspace limit.
        tf32: Whether fp32 matrix products may use TF32.
        profiles: Shapes of every graph input.
        timing_cache: File that tactic timings are kept in (TensorRT only).
        debug_tensors: Whether unfused tensors can be had from the plan at run time; fusions stay.
    """

    onnx: Path
    plan: Path
    flavour: Flavour
    targets: tuple[str, ...]
    workspace_mib: int
    tf32: bool
    profiles: dict[str, Shapes]
    timing_cache: Path | None = None
    debug_tensors: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTensor:
    """A tensor of TensorRT's parsed network.

    Attributes:
        name: Its name; those of ONNX tensors survive parsing.
        dtype: Its type in lower case: `float`, `half`, `bf16`, `int64`, `bool`, …
    """

    name: str
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLayer:
    """A layer of TensorRT's parsed network.

    Attributes:
        name: Its name.
        kind: Its type in lower case: `matrix_multiply`, `cast`, `constant`, …
        nodes: ONNX nodes that it was made for, and those that hold them; empty where the parser added it.
        inputs: Its inputs, absent ones left out.
        outputs: Its outputs.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    inputs: tuple[NetworkTensor, ...]
    outputs: tuple[NetworkTensor, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildAnswer:
    """What came of a request.

    Attributes:
        version: Version of the library.
        flags: Names of the builder flags that were set.
        layers: The parsed network, before the builder changed anything.
        warnings: TensorRT's warnings, each once.
        errors: TensorRT's errors, each once; not empty where no plan was written.
        built: Whether the plan was written.
        seconds: Time the build took, parsing included.
    """

    version: str
    flags: tuple[str, ...]
    layers: tuple[NetworkLayer, ...]
    warnings: tuple[str, ...]
    errors: tuple[str, ...]
    built: bool
    seconds: float
