"""The manifest: what a bundle holds, where it came from, and on what evidence it was shipped.

A bundle has a core, whose bytes are reproducible, and measurements and provenance in `attestation/`. The manifest
names every file of both; `core` is the digest of the core alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

from pipeline.core import digest, serde
from pipeline.core.artifacts import OutputVerdict, Provenance, TaskVerdict, TensorInfo

FILE = "manifest.json"
SIGNATURE = "manifest.json.sig"
ATTESTATION = "attestation"

SCHEMA = 3
"""Version of the record's JSON form that is written, and the only one that is read."""

Shapes = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


class Role(StrEnum):
    """What a file of a bundle is for."""

    PLAN = "plan"
    ONNX = "onnx"
    EMULATED = "emulated"
    PRECISION = "precision"
    TOKENIZER = "tokenizer"
    SBOM = "sbom"
    README = "readme"
    REPORT = "report"
    PROVENANCE = "provenance"
    TIMINGS = "timings"


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
        path: Path of the ONNX file in the bundle; its weights lie beside it.
        digest: SHA-256 over the ONNX file and its weights.
        emulated: Path of the fp32 graph that rounds where this one rounds, for machines without a GPU; it shares the
            weights' file.
        exported: Digest of the fp32 model that was exported from PyTorch.
        opset: Version of the default operator set.
        inputs: Graph inputs in order.
        outputs: Graph outputs in order.
        axes: Sizes of every dynamic axis.
        names_stripped: Whether nodes and tensors carry ordinals instead of the model's own names.
    """

    path: str
    digest: str
    emulated: str
    exported: str
    opset: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    axes: dict[str, Axis]
    names_stripped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """The cast recipe in figures; the decisions themselves are in the file.

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
        outputs: Every graph output, for each origin (emulated on a CPU, or run by the engine).
        tasks: The task metric, for each origin.
        not_run: What was not run and why, such as the engine on a machine without a GPU.
        overridden: Reasons not to ship that were overridden with `--force-unvalidated` or `--allow-unlicensed`.
    """

    passed: bool
    samples: int
    layers: int
    compared: int
    outputs: tuple[OutputVerdict, ...]
    tasks: tuple[TaskVerdict, ...]
    not_run: tuple[str, ...]
    overridden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a bundle holds.

    Attributes:
        schema: Version of this record's JSON form.
        engine: Name of the engine.
        core: Digest over path and SHA-256 of every file that is not below `attestation/`.
        files: Every file of the bundle but the manifest and its signature, by POSIX path below its folder.
        plans: The plans.
        graph: The mixed-precision ONNX model.
        precision: The cast recipe in figures.
        weights: Where the weights come from, with digest and licence.
        tokenizer: Where the tokenizer files come from; None where there are none.
        verdict: What validation found.
        licences: SPDX expression of each thing in the bundle that has a licence of its own.
        versions: Distributions that made it, by name, and Python; absent ones are left out.
        digest: SHA-256 of the written form of all the rest: by it damage shows where nobody signed.
    """

    schema: int = SCHEMA
    engine: str
    core: str
    files: dict[str, File]
    plans: tuple[Plan, ...]
    graph: Graph
    precision: Precision
    weights: Provenance
    tokenizer: Provenance | None
    verdict: Verdict
    licences: dict[str, str]
    versions: dict[str, str]
    digest: str = ""

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, got {self.schema}")
        if unsafe := sorted(name for name in self.files if not is_inside(name)):
            raise ValueError(f"files names paths outside the bundle: {unsafe}")
        if reserved := sorted({FILE, SIGNATURE} & self.files.keys()):
            raise ValueError(f"files names {reserved}, which no manifest can name")
        named = [*(plan.path for plan in self.plans), self.graph.path, self.graph.emulated, self.precision.path]
        if strangers := sorted(set(named) - self.files.keys()):
            raise ValueError(f"files lacks {strangers}, which the manifest refers to")
        if not self.plans:
            raise ValueError("plans must name at least one plan")
        if self.core != core_digest(self.files):
            raise ValueError(f"core is {self.core}, and the files give {core_digest(self.files)}")


def dumps(record: Manifest) -> str:
    """The written form of a manifest, with its `digest`; the same record gives the same text."""
    bare = dataclasses.replace(record, digest="")
    return serde.dumps(dataclasses.replace(bare, digest=digest.of_bytes(serde.dumps(bare).encode())))


def loads(content: bytes) -> Manifest:
    """A manifest from its written form.

    Raises:
        ValueError: It is not one, or not byte for byte as it was written.
    """
    record = serde.loads(Manifest, content)
    if dumps(record).encode() != content:
        raise ValueError("it is not as it was written: its digest does not fit the rest of it")
    return record


def core_files(files: Mapping[str, File]) -> dict[str, File]:
    """The files of the core, in the order of their paths."""
    return {name: files[name] for name in sorted(files) if not name.startswith(f"{ATTESTATION}/")}


def core_digest(files: Mapping[str, File]) -> str:
    """Digest of the core: SHA-256 of the canonical JSON object of path and SHA-256."""
    return digest.of_value({name: file.sha256 for name, file in core_files(files).items()})


def is_inside(name: str) -> bool:
    """Whether `name` is a plain relative POSIX path that stays below the folder that it is joined to."""
    path = PurePosixPath(name)
    plain = not ({"..", "."} & set(name.split("/"))) and "\\" not in name and "\0" not in name
    return bool(name) and plain and not path.is_absolute() and path.as_posix() == name
