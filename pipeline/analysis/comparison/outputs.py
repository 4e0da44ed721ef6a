"""Graph outputs of several runs against the exported model, and the task metric of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.analysis import batches
from pipeline.analysis.comparison.elements import elements_of, samples, stack_of
from pipeline.backends.comparator import agrees
from pipeline.core.artifacts import ErrorStats, OnnxModel, Origin, OutputVerdict, TaskVerdict
from pipeline.core.errors import ValidationError
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec, TaskSpec, ToleranceSpec
from pipeline.precision.reducers.differences import Difference

Array = npt.NDArray[Any]
Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]
"""Feeds to outputs."""


@dataclass(slots=True, kw_only=True)
class Judged:
    """One output so far.

    Attributes:
        difference: Over the elements that no mask excludes.
        agrees: Whether Polygraphy accepted every batch.
    """

    difference: Difference = field(default_factory=Difference)
    agrees: bool = True

    def merge(self, other: Judged) -> None:
        """Take in what was found on other batches."""
        self.difference = self.difference.merge(other.difference)
        self.agrees &= other.agrees


def judge(
    exported: OnnxModel,
    reference: Run,
    candidates: Mapping[str, Run],
    files: Sequence[Path],
    inputs: Mapping[str, InputSpec],
    tolerances: ToleranceSpec,
    progress: Progress,
    *,
    unjudged: Collection[str] = (),
) -> dict[str, dict[str, Judged]]:
    """Run every candidate beside the exported model.

    Args:
        exported: The exported model.
        reference: What computes it.
        candidates: By name.
        files: Batches.
        inputs: Graph inputs, with the axes that they mask.
        tolerances: What Polygraphy is asked.
        progress: Told of each batch.
        unjudged: Candidates whose figures alone are wanted: Polygraphy is not asked about them.

    Returns:
        By candidate and output.

    Raises:
        ValidationError: A candidate has other outputs than the exported model, or of another shape.
    """
    counted = {info.name: elements_of(info.shape, inputs) for info in exported.outputs}
    stack, first = stack_of(inputs), 0
    judged = {name: {info.name: Judged() for info in exported.outputs} for name in candidates}
    for index, file in enumerate(files):
        feeds = batches.read(file, [info.name for info in exported.inputs])
        expected = reference(feeds)
        for name, run in candidates.items():
            found = run(feeds)
            _require_outputs(name, expected, found)
            for output, array in expected.items():
                item, elements = judged[name][output], counted[output]
                item.difference = item.difference.merge(elements.difference(feeds, array, found[output], first))
                if name in unjudged:
                    continue
                one, other = (np.concatenate(elements.rows(feeds, side)) for side in (array, found[output]))
                item.agrees &= agrees(one, other, atol=tolerances.output_atol, rtol=tolerances.output_rtol)
        first += samples(stack, feeds)
        progress.advance("output batches", index + 1, len(files))
    return judged


def verdict(name: str, origin: Origin, judged: Judged, tolerances: ToleranceSpec) -> OutputVerdict:
    """Whether one output passes, and why."""
    stats = judged.difference.stats()
    problems = _problems(stats, judged.agrees, tolerances)
    reason = "; ".join(problems) or (
        f"SQNR {stats.sqnr_db:.1f} dB, at least {tolerances.output_sqnr_db:g} dB asked; "
        f"largest difference {stats.max_abs:.3g}"
    )
    return OutputVerdict(name=name, origin=origin, stats=stats, passed=not problems, reason=reason)


def measure(
    task: TaskSpec, files: Sequence[Path], names: Sequence[str], runs: Mapping[str, Run], progress: Progress
) -> dict[str, float]:
    """The task metric of several runs over the same batches."""
    from pipeline.data.metrics import measure as meter_of

    meters = {name: meter_of(task.metric) for name in runs}
    for index, file in enumerate(files):
        feeds, labels = batches.read(file, names), batches.labels(file)
        for name, run in runs.items():
            meters[name].update(feeds, run(feeds), labels)
        progress.advance("task batches", index + 1, len(files))
    return {name: meter.value() for name, meter in meters.items()}


def task_verdict(task: TaskSpec, origin: Origin, reference: float, candidate: float, samples: int) -> TaskVerdict:
    """Whether the metric worsened by no more than the tolerance; NaN does not pass."""
    from pipeline.data.metrics import measure as meter_of

    worsening = meter_of(task.metric).worsening(reference, candidate)
    passed = bool(worsening <= task.tolerance)
    change = "no worse" if worsening <= 0 else f"worse by {worsening:.3g}"
    return TaskVerdict(
        metric=str(task.metric),
        origin=origin,
        reference=reference,
        candidate=candidate,
        tolerance=task.tolerance,
        samples=samples,
        passed=passed,
        reason=f"{reference:.6g} in fp32, {candidate:.6g} here: {change}, {task.tolerance:g} allowed",
    )


def _problems(stats: ErrorStats, agreed: bool, tolerances: ToleranceSpec) -> list[str]:
    problems = []
    if stats.elements == 0:
        problems.append("no element was compared")
    if stats.mismatched_nonfinite:
        problems.append(f"{stats.mismatched_nonfinite} elements are NaN or infinite and not alike in both")
    if not stats.sqnr_db >= tolerances.output_sqnr_db:
        problems.append(f"SQNR {stats.sqnr_db:.1f} dB is under the {tolerances.output_sqnr_db:g} dB asked")
    if not agreed:
        problems.append(
            f"Polygraphy's comparator refuses it at atol {tolerances.output_atol:g}, rtol {tolerances.output_rtol:g} "
            f"(largest difference {stats.max_abs:.3g})"
        )
    return problems


def _require_outputs(name: str, expected: Mapping[str, Array], found: Mapping[str, Array]) -> None:
    if set(expected) != set(found):
        raise ValidationError(f"the exported model has outputs {sorted(expected)}, {name} has {sorted(found)}")
    for output, array in expected.items():
        if array.shape != found[output].shape:
            raise ValidationError(
                f"it has shape {list(found[output].shape)} in {name}, {list(array.shape)} in the exported model",
                where=f"output {output}",
            )
