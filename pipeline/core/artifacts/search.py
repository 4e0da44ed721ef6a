"""What a search for the cheapest precision plan within an error budget found, and how."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipeline.core.artifacts.precision import PrecisionPlan


class Outcome(StrEnum):
    """How a search ended.

    Attributes:
        FOUND: The plan is the cheapest that it found, and it holds on samples that the search never saw.
        FELL_BACK: Nothing cheaper than the default policy's plan held there; the plan is the default policy's.
    """

    FOUND = "found"
    FELL_BACK = "fell back"


class Direction(StrEnum):
    """Which way a change goes."""

    FREED = "freed"
    ADDED = "added"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a plan may err by. A plan meets it when every part holds; NaN does not.

    Attributes:
        sqnr_db: Floor of every output's SQNR, in dB.
        atol: Absolute tolerance of every output (Polygraphy's comparator).
        rtol: Relative tolerance of every output.
        metric: Name of the task metric, or None; it is measured on held-out samples only.
        worsening: Largest worsening of the metric, in its own unit; None where there is no metric.
    """

    sqnr_db: float
    atol: float
    rtol: float
    metric: str | None = None
    worsening: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One group of nodes that a point has in another precision than the point before it.

    Attributes:
        group: What the group is, in words, such as `norms of encoder.layer.3`.
        direction: `freed` (to the low format) or `added` (to fp32).
        nodes: Their names, in graph order.
    """

    group: str
    direction: Direction
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPoint:
    """One plan that was tried on all samples that the search may see.

    Attributes:
        label: What it is, in words: `default policy`, `least fp32`, or what it changes.
        cost: Total of the cost model, in its unit.
        casts: Casts in its graph that the cost model counts.
        fp32_nodes: Nodes that compute in fp32.
        noise: Worst output's noise to signal, as a ratio of norms (10^(-SQNR/20)); inf where something is not finite.
        sqnr_db: The same in dB.
        meets: Whether it meets the output part of the budget on the samples that the search saw.
        reason: The figures, or what failed.
        frontier: Whether no other point has both less cost and less noise.
        changes: What it changes, in comparison with the point named by `since`.
        since: Position of that point among `SearchResult.points`, or None for the first.
        latency_ms: Median latency, where it was built and timed.
    """

    label: str
    cost: float
    casts: int
    fp32_nodes: int
    noise: float
    sqnr_db: float
    meets: bool
    reason: str
    frontier: bool = False
    changes: tuple[Change, ...] = ()
    since: int | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """What it buys to have one group in fp32 instead of the low format.

    Everything else is as in the plan of the least fp32, or, where that one fails, as in the default policy's.

    Attributes:
        group: What the group is, in words.
        op_kind: `norm`, `softmax`, `product`, `reduction`, `elementwise` or `movement`.
        module: Path of the `nn.Module` that holds it, or "".
        nodes: How many nodes.
        in_plan: Whether the plan that was found has it in fp32.
        cost: What it adds to the cost (negative where it saves casts).
        sqnr_db: What it adds to the worst output's SQNR, in dB; inf where it makes a broken output finite.
        reason: Why it is as it is, in words.
    """

    group: str
    op_kind: str
    module: str
    nodes: int
    in_plan: bool
    cost: float
    sqnr_db: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A node that search may not free, whatever samples say.

    Attributes:
        node: Its name.
        rule: The rule that keeps it.
        reason: Its reason.
    """

    node: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """One plan on the samples that the search never saw, as the graph that `convert` writes.

    Attributes:
        point: Position of the plan among `SearchResult.points`.
        passed: Whether it meets the whole budget there.
        reason: The figures, or what failed.
        sqnr_db: Worst output's SQNR there, in dB.
        task_reference: The task metric in fp32; None where there is none.
        task_candidate: The task metric of the plan.
        samples: Held-out samples that outputs were judged on.
        task_samples: Held-out samples that the metric was measured on.
    """

    point: int
    passed: bool
    reason: str
    sqnr_db: float
    task_reference: float | None = None
    task_candidate: float | None = None
    samples: int
    task_samples: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """The plan, and the way to it.

    Attributes:
        plan: What convert takes.
        outcome: How the search ended.
        budget: What was asked.
        cost_unit: Unit of every cost here, in words.
        points: Plans that were tried, cheapest first.
        chosen: Position of `plan` among them.
        cheapest: Position of the cheapest that meets the budget there, of those that `plan` was chosen from.
        resolution: Difference in cost up to which plans were not told apart; in ms where latencies decided.
        default: Position of the default policy's plan.
        knee: Position of the point of the frontier where more fp32 begins to buy little; None with fewer than three.
        purchases: What each group buys, the one that buys most first.
        kept: What stays fp32 whatever samples say.
        confirmations: In the order they were made; the first that passed was taken.
        trials: Times that the switched graph was run over samples.
        remembered: Trials of an earlier, interrupted run that were not run again.
        samples: Samples that the search saw.
        measured_on: GPU, its driver and what built plans for it, where latencies decided instead of costs; else "".
    """

    plan: PrecisionPlan
    outcome: Outcome
    budget: Budget
    cost_unit: str
    points: tuple[SearchPoint, ...]
    chosen: int
    cheapest: int
    resolution: float
    default: int
    knee: int | None
    purchases: tuple[Purchase, ...]
    kept: tuple[Kept, ...]
    confirmations: tuple[Confirmation, ...]
    trials: int
    remembered: int = 0
    samples: int
    measured_on: str = ""

    def __post_init__(self) -> None:
        for position in (self.chosen, self.cheapest, self.default, *(item.point for item in self.confirmations)):
            if not 0 <= position < len(self.points):
                raise ValueError(f"there is no point {position} among {len(self.points)}")

    @property
    def overfitted(self) -> tuple[int, ...]:
        """Points that meet the budget on what the search saw and not on what it did not see."""
        return tuple(item.point for item in self.confirmations if not item.passed and self.points[item.point].meets)
