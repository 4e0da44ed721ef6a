"""A rebuilt engine against its baseline: one row a figure, and why it moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pipeline.core.spec import Metric
from pipeline.data.metrics import METRICS, measure
from pipeline.regress.baseline import Baseline, Figures, Plan
from pipeline.regress.explain import Explanation
from pipeline.regress.take import noise

SIZE_GROWTH = 0.01
"""Relative growth of a plan that is not worth a red job: names and alignment, not weights in a wider format."""


class Change(StrEnum):
    """What became of a figure."""

    WORSE = "worse"
    BETTER = "better"
    SAME = "same"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure.

    Attributes:
        part: What it is of: `output`, `task`, `module`, `module's own error`, `plan`, `graph`, `weights`, `verdict`.
        name: Which one.
        was: In the baseline.
        now: Now.
        allowed: What would have been accepted.
        change: What became of it.
        why: The decision, graph difference or version that explains it; "" where nothing needs explaining.
    """

    part: str
    name: str
    was: str
    now: str
    allowed: str
    change: Change
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The verdict on one rebuilt engine.

    Attributes:
        engine: Name of the engine.
        rows: Every figure.
        differences: What differs that is no figure: decisions, graphs, versions, processor.
        culprits: Modules whose own error grew, in graph order: what the other modules inherit from.
        seeded: Whether the weights are not the real ones, then as now.
    """

    engine: str
    rows: tuple[Row, ...]
    differences: tuple[str, ...]
    culprits: tuple[str, ...]
    seeded: bool

    @property
    def passed(self) -> bool:
        """Whether nothing is worse."""
        return not any(row.change is Change.WORSE for row in self.rows)

    @property
    def improved(self) -> bool:
        """Whether something is better and nothing is worse."""
        return self.passed and any(row.change is Change.BETTER for row in self.rows)

    def of(self, change: Change) -> tuple[Row, ...]:
        """The rows of one kind."""
        return tuple(row for row in self.rows if row.change is change)


def compare(baseline: Baseline, now: Figures) -> Comparison:
    """Hold `now` to `baseline`. NaN is worse, and so is a figure that is missing."""
    explanation = Explanation(baseline, now)
    rows = (
        *_verdict(baseline.figures, now),
        *_outputs(baseline, now, explanation),
        *_tasks(baseline, now, explanation),
        *_modules(baseline, now, explanation),
        *_plans(baseline.figures, now, explanation),
        _casts(baseline.figures, now, explanation),
    )
    return Comparison(
        engine=now.engine,
        rows=rows,
        differences=explanation.differences,
        culprits=explanation.culprits,
        seeded=not now.weights.real,
    )


def _verdict(was: Figures, now: Figures) -> Iterator[Row]:
    yield Row(
        part="verdict",
        name="validation",
        was="passed",
        now="passed" if now.passed else "NOT PASSED",
        allowed="passed",
        change=Change.SAME if now.passed else Change.WORSE,
        why="" if now.passed else "see report.html",
    )
    same = was.weights.digest == now.weights.digest
    yield Row(
        part="weights",
        name=now.weights.source,
        was=was.weights.digest[:16],
        now=now.weights.digest[:16],
        allowed="the same",
        change=Change.SAME if same else Change.WORSE,
        why="" if same else f"the baseline is of {was.weights.source}: its figures are no measure of these weights",
    )


def _outputs(baseline: Baseline, now: Figures, explanation: Explanation) -> Iterator[Row]:
    for name, item in baseline.figures.outputs.items():
        found, floor = now.outputs.get(name), baseline.bounds.outputs[name]
        if found is None:
            yield _missing("output", name, db(item.sqnr_db))
            continue
        yield _sqnr("output", name, item.sqnr_db, found.sqnr_db, floor, explanation.of_everything())


def _tasks(baseline: Baseline, now: Figures, explanation: Explanation) -> Iterator[Row]:
    for name, item in baseline.figures.tasks.items():
        found, allowed = now.tasks.get(name), baseline.bounds.tasks[name]
        if found is None:
            yield _missing("task", name, f"{item.candidate:.6g}")
            continue
        worsening = measure(Metric(name)).worsening(item.candidate, found.candidate)
        change = Change.SAME if worsening <= allowed else Change.WORSE
        yield Row(
            part="task",
            name=METRICS[Metric(name)].name,
            was=f"{item.candidate:.6g}",
            now=f"{found.candidate:.6g}",
            allowed=f"worse by {allowed:.2g}",
            change=Change.BETTER if -worsening > allowed else change,
            why=explanation.of_everything() if change is Change.WORSE else "",
        )


def _modules(baseline: Baseline, now: Figures, explanation: Explanation) -> Iterator[Row]:
    for name, item in baseline.figures.modules.items():
        found, shown = now.modules.get(name), name or "(no module)"
        if found is None:
            yield _missing("module", shown, db(item.sqnr_db))
            continue
        if not found.compared >= item.compared:
            yield Row(
                part="module",
                name=shown,
                was=f"{item.compared} layers compared",
                now=f"{found.compared}",
                allowed="as many",
                change=Change.WORSE,
                why=explanation.of_module(name),
            )
        why = explanation.of_module(name)
        own = baseline.bounds.own[name]
        yield _sqnr("own error", shown, item.own_db, found.own_db, own, why, tensor=found.own_tensor)
        floor = baseline.bounds.modules[name]
        yield _sqnr("module", shown, item.sqnr_db, found.sqnr_db, floor, why, tensor=found.tensor)


def _sqnr(part: str, name: str, was: float, now: float, floor: float, why: str, *, tensor: str | None = None) -> Row:
    worse = not now >= floor
    gain = noise(floor) - noise(was)
    better = not worse and noise(now) < noise(was) - gain
    return Row(
        part=part,
        name=name,
        was=db(was),
        now=db(now) + (f" at {tensor}" if worse and tensor else ""),
        allowed=f"at least {db(floor, digits=2)}",
        change=Change.WORSE if worse else Change.BETTER if better else Change.SAME,
        why=why if worse else "",
    )


def _plans(was: Figures, now: Figures, explanation: Explanation) -> Iterator[Row]:
    for name, item in was.plans.items():
        found = now.plans.get(name)
        if found is None:
            yield _missing("plan", name, f"{item.flavour} {item.version}")
            continue
        why = explanation.of_plan(item, found)
        yield _count("fused attentions", name, item.fused_attentions, found.fused_attentions, why, more_is_better=True)
        yield _count("kernels", name, _total(item), _total(found), why, more_is_better=False)
        worse = not found.size <= item.size * (1.0 + SIZE_GROWTH)
        yield Row(
            part="plan size",
            name=name,
            was=f"{item.size} bytes",
            now=f"{found.size} bytes",
            allowed=f"{1.0 + SIZE_GROWTH:g} times",
            change=Change.WORSE
            if worse
            else Change.BETTER
            if found.size < item.size * (1 - SIZE_GROWTH)
            else Change.SAME,
            why=why if worse else "",
        )


def _casts(was: Figures, now: Figures, explanation: Explanation) -> Row:
    return _count("casts", "mixed graph", was.casts, now.casts, explanation.of_everything(), more_is_better=False)


def _count(part: str, name: str, was: int | None, now: int | None, why: str, *, more_is_better: bool) -> Row:
    if was is None or now is None:
        lost = was is not None
        return Row(
            part=part,
            name=name,
            was="not readable" if was is None else str(was),
            now="not readable" if now is None else str(now),
            allowed="readable" if lost else "anything",
            change=Change.WORSE if lost else Change.SAME,
            why="plans of this version of TensorRT-RTX were not compared with their graphs" if lost else "",
        )
    gain = (now - was) if more_is_better else (was - now)
    return Row(
        part=part,
        name=name,
        was=str(was),
        now=str(now),
        allowed=f"at {'least' if more_is_better else 'most'} {was}",
        change=Change.WORSE if gain < 0 else Change.BETTER if gain > 0 else Change.SAME,
        why=why if gain < 0 else "",
    )


def _total(plan: Plan) -> int | None:
    return None if plan.kernels is None else sum(plan.kernels.values())


def _missing(part: str, name: str, was: str) -> Row:
    return Row(
        part=part,
        name=name,
        was=was,
        now="missing",
        allowed="present",
        change=Change.WORSE,
        why="the engine no longer has it; if that is meant, update the baseline",
    )


def db(value: float, *, digits: int = 1) -> str:
    """Decibels; `exact` for no error at all."""
    return "exact" if value == float("inf") else f"{value:.{digits}f} dB"
