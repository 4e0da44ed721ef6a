"""Rebuild engines from their specs, hold them to their baselines, and make baselines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline import flow
from pipeline.core.artifacts.steadiness import Steadiness
from pipeline.core.errors import BaselineError, StoreError
from pipeline.core.progress import Progress
from pipeline.core.runner import Damaged, Runner
from pipeline.core.store import Store
from pipeline.flow import Results
from pipeline.regress import baseline, take, tolerances
from pipeline.regress.baseline import Baseline
from pipeline.regress.compare import Comparison, compare
from pipeline.stages.steady import steady

REPEATS = 4
SEEDED = "seeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A baseline that could replace the one that is there.

    Attributes:
        folder: Folder of the engine.
        baseline: What was measured now.
        comparison: The engine against the baseline that is there; None where there is none.
    """

    folder: Path
    baseline: Baseline
    comparison: Comparison | None


def with_baseline(root: Path) -> list[str]:
    """Names of the engines that have a baseline."""
    return [name for name in flow.engines(root) if baseline.path(root / "engines" / name).is_file()]


def regress(name: str, *, root: Path, progress: Progress) -> Comparison:
    """Rebuild one engine, validate it, and hold it to its baseline.

    A baseline of seeded weights is compared with seeded weights; any other asks for the real ones.

    Raises:
        BaselineError: It has no baseline.
        PipelineError: It cannot be built or validated.
    """
    was = required(name, root=root)
    weights = SEEDED if not was.figures.weights.real else "pretrained"
    return compare(was, take.figures(_results(name, weights, root=root, progress=progress)))


def required(name: str, *, root: Path) -> Baseline:
    """The baseline of an engine.

    Raises:
        BaselineError: There is none, or it is damaged.
        SpecError: There is no such engine.
    """
    spec = flow.read_spec(name, root=root)
    found = baseline.read(spec.folder)
    if found is None:
        raise BaselineError(
            "this engine has no baseline to be held to",
            where=str(baseline.path(spec.folder)),
            hint=f"make one from a state that is known to be good: trt-pipeline baseline update {name}",
        )
    return found


def propose(name: str, *, root: Path, weights: str, progress: Progress) -> Proposal:
    """Run the line and measure how steady its figures are: a baseline, not yet written.

    Raises:
        BaselineError: Validation did not pass.
        PipelineError: It cannot be built or validated.
    """
    results = _results(name, weights, root=root, progress=progress)
    report = results.artifact("validate")
    if not report.passed:
        raise BaselineError(
            "validation did not pass, and what did not pass is no baseline",
            where=name,
            hint=f"see {results.folder / 'report.html'}",
        )
    figures = take.figures(results)
    limits = tolerances.bounds(figures, report.layers, _steadiness(results, root, progress))
    made = Baseline(figures=figures, bounds=limits)
    was = baseline.read(results.spec.folder)
    return Proposal(
        folder=results.spec.folder, baseline=made, comparison=None if was is None else compare(was, figures)
    )


def _results(name: str, weights: str, *, root: Path, progress: Progress) -> Results:
    return flow.run(name, root=root, options=flow.Options(weights=weights), progress=progress, until="render")


def _steadiness(results: Results, root: Path, progress: Progress) -> Steadiness:
    store = Store(root / flow.STORE)
    with store.writing():
        try:
            return (
                Runner(store, progress)
                .run(
                    steady,
                    reference=results.handles["canonicalise"],
                    mixed=flow.mixed_of(results.handles),
                    samples=results.handles["sample"],
                    inputs=results.spec.inputs,
                    task=results.spec.task,
                    repeats=REPEATS,
                )
                .read()
            )
        except Damaged as damage:
            raise StoreError(
                f"a damaged entry was discarded: {damage}", where=str(store.root), hint="run again: it is made anew"
            ) from damage
