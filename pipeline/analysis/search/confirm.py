"""Plans on samples that the search never saw, as the graphs that `convert` would write."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.analysis.comparison import outputs
from pipeline.analysis.comparison.outputs import Run
from pipeline.analysis.search.held_out import HeldOut
from pipeline.analysis.search.memory import Plan
from pipeline.analysis.verdict.judge import Judge
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Budget, Confirmation, OnnxModel, Origin
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec, TaskSpec, ToleranceSpec
from pipeline.graph import io
from pipeline.precision import casts
from pipeline.precision.emulation.blocks import sums_in_blocks
from pipeline.precision.emulation.emulate import LOW, emulate
from pipeline.precision.reducers.differences import decibels


@dataclass(slots=True, kw_only=True)
class Confirmer:
    """Confirms plans; what the exported model gives is computed once.

    Attributes:
        exported: The exported model.
        reference: The fp32 model that is decided for.
        run: Computes `exported`.
        sides: Which samples are held out.
        inputs: Graph inputs.
        task: The task metric, or None.
        budget: What a plan may err by.
        low: The low format.
    """

    exported: OnnxModel
    reference: OnnxModel
    run: Run
    sides: HeldOut
    inputs: Mapping[str, InputSpec]
    task: TaskSpec | None
    budget: Budget
    low: Format
    _judge: Judge = field(init=False)
    _metric: float | None = None

    def __post_init__(self) -> None:
        allowed = ToleranceSpec(
            output_atol=self.budget.atol, output_rtol=self.budget.rtol, output_sqnr_db=self.budget.sqnr_db
        )
        self._judge = Judge(self.exported, self.run, self.sides.validation, self.inputs, allowed)

    def __call__(self, plan: Plan) -> Confirmation:
        """Whether `plan` meets the whole budget, in the worst way in which TensorRT may sum its products."""
        mixed = io.load(self.reference.path)
        casts.apply(mixed, plan)
        runs = [Session(emulate(mixed), as_written=True)]
        if any(sums_in_blocks(node) and node.outputs[0].dtype in LOW for node in mixed.graph):
            runs.append(Session(emulate(mixed, accumulate=self.low), as_written=True))
        return max((self._confirmed(run) for run in runs), key=lambda found: (not found.passed, -found.sqnr_db))

    def _confirmed(self, run: Session) -> Confirmation:
        answer = self._judge(run)
        found = Confirmation(
            point=0,
            passed=answer.passed,
            reason=answer.reason,
            sqnr_db=decibels(answer.noise),
            samples=self.sides.validation_samples,
        )
        if self.task is None or not self.sides.task:
            return found
        return self._with_metric(self.task, found, run)

    def _with_metric(self, task: TaskSpec, found: Confirmation, run: Session) -> Confirmation:
        if self._metric is None:
            self._metric = self._measure(task, self.run)
        allowed = dataclasses.replace(task, tolerance=self.budget.worsening or 0.0)
        verdict = outputs.task_verdict(
            allowed, Origin.EMULATED, self._metric, self._measure(task, run), self.sides.task_samples
        )
        return dataclasses.replace(
            found,
            passed=found.passed and verdict.passed,
            reason=f"{found.reason}; {verdict.metric}: {verdict.reason}",
            task_reference=verdict.reference,
            task_candidate=verdict.candidate,
            task_samples=self.sides.task_samples,
        )

    def _measure(self, task: TaskSpec, run: Run) -> float:
        names = [info.name for info in self.exported.inputs]
        return outputs.measure(task, self.sides.task, names, {"run": run}, Silent())["run"]
