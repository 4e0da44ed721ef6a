"""What `engines/<name>/baseline.json` records: the figures of one run, and how far each may fall."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.core import serde
from pipeline.core.artifacts import Provenance
from pipeline.core.errors import BaselineError
from pipeline.core.formats import Format

FILE = "baseline.json"
LIMIT = 32 << 20
"""A baseline larger than this many bytes is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One graph output (`emulated`) against the exported model.

    Attributes:
        sqnr_db: SQNR in dB.
        max_abs: Largest absolute difference.
        passed: Whether the spec's tolerances accept it.
    """

    sqnr_db: float
    max_abs: float
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """The task metric (`emulated`).

    Attributes:
        reference: Value in fp32.
        candidate: Value of the mixed graph.
        passed: Whether the spec's tolerance accepts it.
    """

    reference: float
    candidate: float
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """The layers and decisions of one `nn.Module`.

    Attributes:
        depth: Position of its first node in graph order.
        tensor: Its tensor with the lowest SQNR.
        format: Format in which the mixed graph stores that tensor.
        sqnr_db: That SQNR, in dB.
        own_tensor: Its tensor whose node adds the most error by itself; None where none was measured.
        own_format: Format of that tensor.
        own_db: SQNR that this error alone would leave, in dB.
        compared: Layers compared.
        nodes: Its nodes with float results, each with its operator, its formats and the rule that decided.
    """

    depth: int
    tensor: str | None
    format: Format
    sqnr_db: float
    own_tensor: str | None
    own_format: Format
    own_db: float
    compared: int
    nodes: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One plan, as far as it can be read.

    Attributes:
        flavour: `tensorrt-rtx` or `tensorrt`.
        version: Version of the library that built it.
        size: Bytes.
        kernels: How often each kernel occurs; None where the plan cannot be read.
        fused_attentions: Fused attention kernels; None likewise.
    """

    flavour: str
    version: str
    size: int
    kernels: dict[str, int] | None
    fused_attentions: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one run of the line measured.

    Attributes:
        engine: Name of the engine.
        passed: Whether validation passed.
        weights: Where the weights come from, with their digest.
        policy: Precision policy.
        low: The low format.
        samples: Validation samples.
        versions: Distributions that took part, by name.
        processor: What computed it.
        graphs: Digest of the structure (nodes, connections, types; no weights) of each graph.
        casts: Cast nodes of the mixed graph.
        outputs: By name.
        tasks: By metric.
        modules: By path; "" holds what belongs to none.
        plans: By their targets.
    """

    engine: str
    passed: bool
    weights: Provenance
    policy: str
    low: Format
    samples: int
    versions: dict[str, str]
    processor: str
    graphs: dict[str, str]
    casts: int
    outputs: dict[str, Output]
    tasks: dict[str, Task]
    modules: dict[str, Module]
    plans: dict[str, Plan]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How far figures may fall; derived in `pipeline.regress.tolerances`.

    Attributes:
        outputs: Lowest SQNR of each output, in dB.
        modules: Lowest SQNR of each module, in dB.
        own: Lowest SQNR of what each module adds by itself, in dB.
        tasks: Largest worsening of each task metric against its baseline, in the metric's unit.
        repeats: Validations that the measured spread rests on.
        epsilon: Half-width of the noise on each sum in them.
    """

    outputs: dict[str, float]
    modules: dict[str, float]
    own: dict[str, float]
    tasks: dict[str, float]
    repeats: int
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """What a rebuilt engine is held to.

    Attributes:
        schema: Version of this record's JSON form.
        figures: What was measured.
        bounds: How far it may fall.
    """

    schema: int = 1
    figures: Figures
    bounds: Bounds

    def __post_init__(self) -> None:
        if self.schema != 1:
            raise ValueError(f"schema must be 1, got {self.schema}")
        if not self.figures.passed:
            raise ValueError("a baseline must have passed validation")
        for name in ("outputs", "modules", "tasks"):
            if set(getattr(self.bounds, name)) != set(getattr(self.figures, name)):
                raise ValueError(f"bounds.{name} and figures.{name} name different things")


def path(folder: Path) -> Path:
    """Where the baseline of the engine in `folder` lies."""
    return folder / FILE


def read(folder: Path) -> Baseline | None:
    """The baseline of the engine in `folder`, or None if there is none.

    Raises:
        BaselineError: It cannot be read, or is not a valid baseline.
    """
    file = path(folder)
    hint = f"restore it from version control, or make it anew: trt-pipeline baseline update {folder.name}"
    try:
        if file.stat().st_size > LIMIT:
            raise BaselineError(f"larger than {LIMIT >> 20} MiB: not a baseline", where=str(file), hint=hint)
        return serde.loads(Baseline, file.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BaselineError(f"cannot be read: {error.strerror}", where=str(file)) from error
    except ValueError as error:
        raise BaselineError(
            f"not a valid baseline: {serde.first_mistake(error)}", where=str(file), hint=hint
        ) from error


def write(baseline: Baseline, folder: Path) -> Path:
    """Write the baseline of the engine in `folder`, whole or not at all.

    Raises:
        BaselineError: It cannot be written.
    """
    file = path(folder)
    pending = file.with_name(f"{FILE}.new")
    try:
        pending.write_text(serde.dumps(baseline), encoding="utf-8")
        pending.replace(file)
    except OSError as error:
        pending.unlink(missing_ok=True)
        raise BaselineError(f"cannot be written: {error.strerror}", where=str(file)) from error
    return file
