"""The verdict on a mixed graph and its plans."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.core.artifacts.differences import Cause, Contribution, ErrorStats, Injected, Origin
from pipeline.core.artifacts.gpu import GpuCheck
from pipeline.core.artifacts.models import Check
from pipeline.core.artifacts.sources import Provenance
from pipeline.core.formats import Format

SCHEMA = 2


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
class Extreme:
    """An input at the edge of what the spec admits, run through the emulated mixed graph and the fp32 model.

    Attributes:
        name: What is extreme about it.
        inputs: Its inputs and their shapes.
        broken: Layers that are NaN or infinite somewhere where the fp32 model is finite.
        first: The first of them, with its operator and module; None where there is none.
        sqnr_db: SQNR of the worst output, over all its elements; None where no output has an element.
        note: What was left out to keep it quick, or where its values come from.
    """

    name: str
    inputs: str
    broken: int = 0
    first: str | None = None
    sqnr_db: float | None = None
    note: str | None = None

    @property
    def passed(self) -> bool:
        """Whether everything stays finite that the fp32 model keeps finite."""
        return self.first is None


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationReport:
    """The verdict on one mixed graph and its plans, with everything it rests on.

    Attributes:
        schema: Version of this record's JSON form; whatever changes the form, an added field too, raises it.
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
        subjects: Digest of each thing that was validated: `exported`, `reference`, `mixed` (ONNX file and weights), and
            each plan by the name of its file.
        made: What was changed when the mixed model was made, beyond casts: rescaled layers, compensated ones.
        added: Nodes that rescaling added, each with what it does: no tensor of the fp32 model is theirs.
        causes: What breaks bad layers, the one to look at first, first; empty where no layer is bad.
        contributions: Error at the outputs by module, the model first; empty where nothing rounds.
        extremes: Inputs at the edge of what the spec admits; empty where they were not tried.
        gpu: Both views of the plan on a GPU and latencies; None where they were not asked for, or there is none.
    """

    schema: int = SCHEMA
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
    made: tuple[Check, ...] = ()
    added: dict[str, str] = field(default_factory=dict)
    causes: tuple[Cause, ...] = ()
    contributions: tuple[Contribution, ...] = ()
    extremes: tuple[Extreme, ...] = ()
    gpu: GpuCheck | None = None
    subjects: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, got {self.schema}")
        if self.passed and (self.failures or not self.layers or not self.outputs):
            raise ValueError("a report without layers, without outputs or with failures cannot have passed")
