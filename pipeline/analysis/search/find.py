"""Search for the cheapest precision plan of one model within its error budget, and confirm it on unseen samples."""

from __future__ import annotations

import functools
import importlib.metadata
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.analysis.search import groups, held_out
from pipeline.analysis.search.choice import Tried, Wide
from pipeline.analysis.search.confirm import Confirmer
from pipeline.analysis.search.held_out import HeldOut
from pipeline.analysis.search.plan_search import PlanSearch
from pipeline.analysis.search.plan_trials import Emulator, Memory, PlanTrials
from pipeline.analysis.search.report import told
from pipeline.analysis.verdict.judge import Judge
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
    choice = search.run()
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
    for plan in _to_confirm(search, choice.taken):
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
        plan=functools.partial(_plan, question),
        chosen=chosen if last.passed else search.tried[space.default],
        cheapest=choice.cheapest,
        confirmations=confirmations,
        trials=trials.count,
        remembered=trials.remembered,
        samples=sides.seen_samples,
    )


def _to_confirm(search: PlanSearch, found: Tried) -> list[Tried]:
    """The plan that was found, then dearer ones that err less or have more in fp32, the default policy's last."""
    passing = sorted((item for item in search.tried.values() if item.answer.passed), key=lambda item: item.cost.total)
    chain = [found]
    for item in passing:
        last = chain[-1]
        if item.cost.total > last.cost.total and (item.answer.noise < last.answer.noise or item.wide > last.wide):
            chain.append(item)
    first = chain[:RETRIES]
    default = search.tried[search.default]
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
    return PlanTrials(emulator, judge, Memory(question.memory / f"{key}.jsonl"), progress)


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
