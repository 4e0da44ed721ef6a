"""Search for the cheapest precision plan of one model within its error budget, and confirm it on unseen samples."""

from __future__ import annotations

import functools
import importlib.metadata
import math
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.analysis.search import groups, held_out
from pipeline.analysis.search.choice import Choice, Tried, Wide, choose
from pipeline.analysis.search.confirm import Confirmer
from pipeline.analysis.search.held_out import HeldOut
from pipeline.analysis.search.latencies import Latencies
from pipeline.analysis.search.memory import Memory, plan_digest
from pipeline.analysis.search.plan_search import PlanSearch
from pipeline.analysis.search.plan_trials import Emulator, PlanTrials
from pipeline.analysis.search.report import told
from pipeline.analysis.verdict.judge import Answer, Judge
from pipeline.backends.onnxruntime import Session
from pipeline.core import digest, serde
from pipeline.core.artifacts import Budget, Confirmation, OnnxModel, PrecisionPlan, Samples, SearchResult
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, InputSpec, SearchSpec, TaskSpec, ToleranceSpec
from pipeline.graph import io
from pipeline.precision.costing.cost import Cost, CostModel
from pipeline.precision.costing.rates import Rates
from pipeline.precision.policy import growth
from pipeline.precision.policy.search_space import Space

FINALISTS = 8
"""Plans that are built and timed at most, where latency decides: a build takes seconds to minutes."""

RETRIES = 3
"""Plans that are confirmed at most before the default policy's is taken: each look at held-out samples tells a bit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is searched for.

    Attributes:
        exported: Reference of outputs and of the task metric.
        reference: The fp32 model that is decided for.
        space: The plans to choose from.
        samples: What a run has.
        inputs: Graph inputs.
        axes: Sizes of every dynamic axis: costs are counted at their optimum.
        task: The task metric, or None.
        tolerances: What outputs may differ by.
        search: What changes that for a search, and its limits.
        tf32: Whether fp32 products may use TF32.
        rates: Published peak rates of the GPU that costs are counted for.
        memory: Folder that outlives this process.
        latencies: Latencies on the GPU at hand, which then decide; None where costs are counted.
    """

    exported: OnnxModel
    reference: OnnxModel
    space: Space
    samples: Samples
    inputs: Mapping[str, InputSpec]
    axes: Mapping[str, AxisRange]
    task: TaskSpec | None
    tolerances: ToleranceSpec
    search: SearchSpec
    tf32: bool
    rates: Rates
    memory: Path
    latencies: Latencies | None = None

    @property
    def budget(self) -> Budget:
        """What a plan may err by."""
        allowed = self.search.tolerances(self.tolerances)
        return Budget(
            sqnr_db=allowed.output_sqnr_db,
            atol=allowed.output_atol,
            rtol=allowed.output_rtol,
            metric=None if self.task is None else str(self.task.metric),
            worsening=None if self.task is None else self.search.worsening(self.task),
        )


def search(question: Question, progress: Progress) -> SearchResult:
    """Search, then confirm: the plan that was chosen, then dearer ones, at last the default policy's.

    Raises:
        BuildError: TensorRT refuses every plan that was to be timed.
        PrecisionError: No plan meets the budget on the samples that the search sees.
        CalibrationError: There are no samples to search on besides those that are held out.
    """
    with tempfile.TemporaryDirectory() as folder:
        sides = held_out.divide(question.samples, question.inputs, question.search.samples, Path(folder))
        return _searched(question, sides, progress)


def _searched(question: Question, sides: HeldOut, progress: Progress) -> SearchResult:
    space = question.space
    exported = Session(question.exported.path)
    trials = _trials(question, sides, exported, progress)
    costs = _Costs(question)
    search = PlanSearch(
        groups=groups.of(space.candidates),
        default=space.default,
        trial=lambda wide: trials(space.formats(wide)),
        cost=costs.of,
        floor=10.0 ** (-question.budget.sqnr_db / 20.0),
        limit=question.search.trials,
    )
    choice, plans = _decided(question, search, progress)
    confirmations: list[tuple[Tried, Confirmation]] = []
    confirmer = Confirmer(
        exported=question.exported,
        reference=question.reference,
        run=exported,
        sides=sides,
        inputs=question.inputs,
        task=question.task,
        budget=question.budget,
        low=space.evidence.low,
    )
    default = next((plan for plan in plans if plan.wide == space.default), search.tried[space.default])
    for plan in _to_confirm(plans, choice.taken, default):
        progress.note(f"confirming on unseen samples: {plan.label}")
        confirmations.append((plan, confirmer(space.formats(plan.wide))))
        if confirmations[-1][1].passed:
            break
        progress.warn(f"{plan.label}: meets the budget on what the search saw, and not on unseen samples")
    chosen, last = confirmations[-1]
    return told(
        search,
        space,
        budget=question.budget,
        measured_on="" if question.latencies is None else question.latencies.where,
        priced=plans,
        plan=functools.partial(_plan, question),
        chosen=chosen if last.passed else default,
        cheapest=choice.cheapest,
        confirmations=confirmations,
        trials=trials.count,
        remembered=trials.remembered,
        samples=sides.seen_samples,
    )


def _decided(question: Question, search: PlanSearch, progress: Progress) -> tuple[Choice, list[Tried]]:
    """What is taken, and the plans that are left to take: all that pass, or those whose latency was measured."""
    choice = search.run()
    if question.latencies is None:
        return choice, [item for item in search.tried.values() if item.answer.passed]
    plans = question.latencies.priced(
        _finalists(question.space, search, choice), lambda item: question.space.formats(item.wide), progress
    )
    return choose(plans, search.tried[search.default]), plans


def _finalists(space: Space, search: PlanSearch, choice: Choice) -> list[Tried]:
    """Plans that are worth a build: the one taken by count, the default policy's, and the frontier's cheapest."""
    default = search.tried[search.default]
    plans = [choice.taken, *([default] if default.answer.passed else ())]
    least = math.inf
    for item in sorted(search.passing(), key=lambda item: (item.cost.total, item.answer.noise)):
        if item.answer.noise < least:
            plans.append(item)
            least = item.answer.noise
    distinct = {plan_digest(space.formats(item.wide)): item for item in reversed(plans)}
    return [item for item in plans if item in distinct.values()][:FINALISTS]


def _to_confirm(plans: Iterable[Tried], taken: Tried, default: Tried) -> list[Tried]:
    """The plan that was taken, then dearer ones that err less or have more in fp32, the default policy's last."""
    chain = [taken]
    for item in sorted(plans, key=lambda item: item.cost.total):
        last = chain[-1]
        if item.cost.total > last.cost.total and (item.answer.noise < last.answer.noise or item.wide > last.wide):
            chain.append(item)
    first = chain[:RETRIES]
    return first if default in first else [*first, default]


def _plan(question: Question, wide: Wide, reasons: Mapping[str, str]) -> PrecisionPlan:
    space = question.space
    decisions = space.decisions(wide, reasons)
    return PrecisionPlan(
        model=io.model_digest(question.reference),
        policy=space.settings.name,
        low=space.evidence.low,
        decisions=decisions,
        growing=growth.growing(space.evidence, decisions, space.ranges),
    )


def _trials(question: Question, sides: HeldOut, exported: Session, progress: Progress) -> PlanTrials:
    space = question.space
    known = ((), space.default, [item.node for item in space.candidates])
    emulator = Emulator(question.reference.path, [space.formats(wide) for wide in known])
    allowed = question.search.tolerances(question.tolerances)
    judge = Judge(question.exported, exported, sides.seen, question.inputs, allowed)
    key = digest.of_value(
        {
            "switched graph": emulator.digest,
            "weights": io.model_digest(question.reference),
            "exported": io.model_digest(question.exported),
            "samples": [digest.of_file(path) for path in sides.seen],
            "tolerances": serde.to_value(allowed),
            "onnxruntime": importlib.metadata.version("onnxruntime-gpu"),
        }
    )
    return PlanTrials(emulator, judge, Memory(Answer, question.memory / f"{key}.jsonl"), progress)


class _Costs:
    """What plans cost, each counted once."""

    def __init__(self, question: Question) -> None:
        sizes = {name: size.opt for name, size in question.axes.items()}
        self._model = CostModel(question.space.evidence.model, sizes=sizes, rates=question.rates, tf32=question.tf32)
        self._space = question.space
        self._known: dict[Wide, Cost] = {}

    def of(self, wide: Wide) -> Cost:
        if wide not in self._known:
            self._known[wide] = self._model.of(self._space.formats(wide))
        return self._known[wide]
