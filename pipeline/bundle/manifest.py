"""The manifest: what a bundle holds, where it came from, and on what evidence it was shipped.

It names no time and no path of the machine that wrote it, so that the same artifacts give the same bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from pipeline.core.artifacts import OutputVerdict, Provenance, TaskVerdict, TensorInfo

FILE = "manifest.json"

Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


class Role(StrEnum):
    """What a file of a bundle is for."""

    PLAN = "plan"
    ONNX = "onnx"
    PRECISION = "precision"
    REPORT = "report"
    TOKENIZER = "tokenizer"
    README = "readme"


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a bundle.

    Attributes:
        role: What it is for.
        size: Bytes.
        sha256: Digest of its content, 64 hex digits.
    """

    role: Role
    size: int
    sha256: str

    def __post_init__(self) -> None:
        if not (len(self.sha256) == 64 and set(self.sha256) <= set("0123456789abcdef")):
            raise ValueError(f"sha256 must be 64 lower-case hex digits, got {self.sha256!r}")
        if not self.size >= 0:
            raise ValueError(f"size must not be negative, got {self.size}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One serialized TensorRT plan, and everything that decides whether it loads.

    Attributes:
        path: Path of the file in the bundle.
        flavour: `tensorrt-rtx` or `tensorrt`.
        version: Version of the library that built it; a TensorRT-RTX plan loads only under that very version.
        targets: Compute capabilities that it was built for.
        flags: Names of the builder flags that were set.
        tf32: Whether TF32 was allowed.
        workspace_mib: Workspace limit.
        profiles: Input name to (min, opt, max) shapes.
        kernels: Kernel entries in it; None where it cannot be read.
        fused_attentions: Fused attention kernels among them; None where it cannot be read.
    """

    path: str
    flavour: str
    version: str
    targets: tuple[str, ...]
    flags: tuple[str, ...]
    tf32: bool
    workspace_mib: int
    profiles: dict[str, Shapes]
    kernels: int | None
    fused_attentions: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Sizes that one dynamic axis may have."""

    min: int
    opt: int
    max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The mixed-precision ONNX model that the plans were built from.

    Attributes:
        path: Path of the ONNX file in the bundle.
        opset: Version of the default operator set.
        inputs: Graph inputs in order.
        outputs: Graph outputs in order.
        axes: Sizes of every dynamic axis.
    """

    path: str
    opset: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    axes: dict[str, Axis]


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """The precision plan in figures; the decisions themselves are in the file.

    Attributes:
        path: Path of the file in the bundle.
        policy: Name of the policy, or path of the policy file.
        low: The low format.
        reference: Digest of the fp32 graph that the decisions are about.
        nodes: Number of nodes by result format; `integer` counts nodes without a float result.
    """

    path: str
    policy: str
    low: str
    reference: str
    nodes: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What validation found.

    Attributes:
        passed: Whether every part passed.
        samples: Validation samples.
        layers: Float tensors of the fp32 model.
        compared: Those that were compared; the report gives the reason for each of the others.
        outputs: Every graph output, for each origin.
        tasks: The task metric, for each origin.
        not_run: What was not run and why, such as the engine on a machine without a GPU.
    """

    passed: bool
    samples: int
    layers: int
    compared: int
    outputs: tuple[OutputVerdict, ...]
    tasks: tuple[TaskVerdict, ...]
    not_run: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle holds.

    Attributes:
        schema: Version of this record's JSON form.
        engine: Name of the engine.
        files: Every file of the bundle but the manifest itself, by POSIX path below its folder.
        plans: The plans.
        graph: The mixed-precision ONNX model.
        precision: The precision plan in figures.
        weights: Where the weights come from, with digest and licence.
        tokenizer: Where the tokenizer files come from; None where there are none.
        verdict: What validation found.
        versions: Distributions that made it, by name; absent ones are left out.
    """

    schema: int = 1
    engine: str
    files: dict[str, File]
    plans: tuple[Plan, ...]
    graph: Graph
    precision: Precision
    weights: Provenance
    tokenizer: Provenance | None
    verdict: Verdict
    versions: dict[str, str]

    def __post_init__(self) -> None:
        if unsafe := sorted(name for name in self.files if not is_inside(name)):
            raise ValueError(f"files names paths outside the bundle: {unsafe}")
        named = [*(plan.path for plan in self.plans), self.graph.path, self.precision.path]
        if strangers := sorted(set(named) - self.files.keys()):
            raise ValueError(f"files lacks {strangers}, which the manifest refers to")
        if not self.plans:
            raise ValueError("plans must name at least one plan")


def is_inside(name: str) -> bool:
    """Whether `name` is a plain relative POSIX path that stays below the folder that it is joined to."""
    path = PurePosixPath(name)
    plain = not ({"..", "."} & set(name.split("/"))) and "\\" not in name and "\0" not in name
    return bool(name) and plain and not path.is_absolute() and path.as_posix() == name
