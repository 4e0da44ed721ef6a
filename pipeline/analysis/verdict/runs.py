"""Graph outputs and the task metric of every run, at their worst for each origin."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.analysis.comparison import outputs
from pipeline.analysis.comparison.outputs import Run
from pipeline.analysis.verdict.subject import Subject
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import ErrorStats, Origin, OutputVerdict, Samples, TaskVerdict
from pipeline.core.progress import Progress
from pipeline.core.spec import TaskSpec, ToleranceSpec

CANONICAL = "canonical"


def judged_outputs(
    subject: Subject,
    exported: Run,
    runs: Mapping[str, Run],
    samples: Samples,
    tolerances: ToleranceSpec,
    progress: Progress,
) -> tuple[tuple[OutputVerdict, ...], dict[str, ErrorStats]]:
    """Every output against the exported model: the verdict on runs, and the figures of the canonical model."""
    candidates: dict[str, Run] = {CANONICAL: Session(subject.reference.path), **runs}
    judged = outputs.judge(
        subject.exported,
        exported,
        candidates,
        samples.validation.batches,
        subject.inputs,
        tolerances,
        progress,
        unjudged=(CANONICAL,),
    )
    canonical = {name: item.difference.stats() for name, item in judged.pop(CANONICAL).items()}
    worst: dict[tuple[Origin, str], OutputVerdict] = {}
    for run, items in judged.items():
        for name, item in items.items():
            verdict = outputs.verdict(name, _origin(run), item, tolerances)
            key = (verdict.origin, name)
            worst[key] = _worse(worst[key], verdict) if key in worst else verdict
    return tuple(worst.values()), canonical


def judged_task(
    subject: Subject,
    exported: Run,
    runs: Mapping[str, Run],
    samples: Samples,
    task: TaskSpec | None,
    progress: Progress,
) -> tuple[TaskVerdict, ...]:
    """The task metric of every run; nothing where the spec has none."""
    if task is None or samples.task is None:
        return ()
    names = [info.name for info in subject.exported.inputs]
    values = outputs.measure(task, samples.task.batches, names, {"exported": exported, **runs}, progress)
    reference = values.pop("exported")
    worst: dict[Origin, TaskVerdict] = {}
    for run, value in values.items():
        verdict = outputs.task_verdict(task, _origin(run), reference, value, samples.task.samples)
        known = worst.get(verdict.origin)
        if known is None or (known.passed and not verdict.passed):
            worst[verdict.origin] = verdict
    return tuple(worst.values())


def _worse(one: OutputVerdict, other: OutputVerdict) -> OutputVerdict:
    if one.passed != other.passed:
        return one if other.passed else other
    return other if not other.stats.sqnr_db >= one.stats.sqnr_db else one


def _origin(run: str) -> Origin:
    return Origin.ENGINE if run == Origin.ENGINE else Origin.EMULATED
