"""Whether a mixed graph passes with some of its nodes back in fp32: one session, asked as often as needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.analysis.comparison import outputs
from pipeline.analysis.comparison.outputs import Run
from pipeline.analysis.verdict.judge import Answer, Judge
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import OnnxModel, Origin, PrecisionPlan, Samples, SampleSet, TensorRange
from pipeline.core.progress import Progress, Silent
from pipeline.core.spec import InputSpec, TaskSpec, ToleranceSpec
from pipeline.graph import io
from pipeline.precision.emulation.switch import FLAGS, switched


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A mixed graph, and when it passes.

    Attributes:
        exported: Reference of outputs and of the task metric.
        reference: The canonical fp32 model.
        plan: The precision plan for `reference`.
        ranges: What the tensors of `reference` held in calibration.
        samples: Their `validation` and `task` sets are used.
        inputs: Graph inputs, with the axes that they mask.
        task: The task metric, or None.
        tolerances: What outputs may differ by.
    """

    exported: OnnxModel
    reference: OnnxModel
    plan: PrecisionPlan
    ranges: Mapping[str, TensorRange]
    samples: Samples
    inputs: Mapping[str, InputSpec]
    task: TaskSpec | None
    tolerances: ToleranceSpec

    @property
    def criterion(self) -> str:
        """When it passes, in words."""
        asked = self.tolerances
        words = (
            f"every output within atol {asked.output_atol:g} or rtol {asked.output_rtol:g} of the exported fp32 model, "
            f"SQNR at least {asked.output_sqnr_db:g} dB, NaN and infinities only where it has the same; "
            f"{self.samples.validation.samples} samples"
        )
        if self.task is not None and self.samples.task is not None:
            words += (
                f"; then {self.task.metric} worse by at most {self.task.tolerance:g} "
                f"on {self.samples.task.samples} samples"
            )
        return f"{words}; products summed in fp32"


Try = Callable[[frozenset[str]], Answer]
"""Whether it passes with the nodes of these names in fp32."""


class Trials:
    """Asks one question of one session; equal questions are answered from memory.

    Single samples that failed before are asked first: what fails again, fails on few tokens. The task metric is
    measured only where the outputs pass.

    Attributes:
        nodes: Nodes that round, in graph order.
        count: Tries that ran.
    """

    def __init__(self, case: Case, progress: Progress) -> None:
        graph = switched(io.load(case.reference.path), case.plan.decisions)
        self.nodes = graph.nodes
        self.count = 0
        self._case, self._progress = case, progress
        self._session = Session(graph.model, as_written=True)
        self._exported = Session(case.exported.path)
        self._whole = self._judge(case.samples.validation.batches)
        self._telling: dict[Path, Try] = {}
        self._task_reference: float | None = None
        self._known: dict[tuple[Path | None, frozenset[str]], Answer] = {}

    def __call__(self, back: frozenset[str]) -> Answer:
        """Whether it passes with the nodes of these names in fp32."""
        return self._asked(None, back, lambda: self._told(back) or self.ask(self._with(back)))

    def on(self, sample: Path) -> Try:
        """The same questions of one sample's outputs, without the task metric: only a hint, but a quick one."""
        judge = self._judge((sample,))

        def ask(back: frozenset[str]) -> Answer:
            answer = self._asked(sample, back, lambda: judge(self._with(back)))
            if answer.decided:
                self._telling[sample] = ask
            return answer

        return ask

    def ask(self, run: Run) -> Answer:
        """Whether what `run` computes passes."""
        answer = self._whole(run)
        return self._task(run, answer) if answer.passed else answer

    def _asked(self, sample: Path | None, back: frozenset[str], ask: Callable[[], Answer]) -> Answer:
        if (sample, back) not in self._known:
            self._known[sample, back] = ask()
            self.count += 1
            self._progress.advance("tries", self.count)
        return self._known[sample, back]

    def _told(self, back: frozenset[str]) -> Answer | None:
        """What the first single sample says that decides against it; None where none does."""
        answers = (ask(back) for ask in tuple(self._telling.values()))
        return next((answer for answer in answers if answer.decided), None)

    def _judge(self, files: Sequence[Path]) -> Judge:
        case = self._case
        return Judge(case.exported, self._exported, files, case.inputs, case.tolerances, hasty=True)

    def _with(self, back: frozenset[str]) -> Run:
        flags = np.array([name in back for name in self.nodes], bool)
        return lambda feeds: self._session({**feeds, FLAGS: flags})

    def _task(self, run: Run, answer: Answer) -> Answer:
        """The task metric beside outputs that pass."""
        case = self._case
        if case.task is None or case.samples.task is None:
            return answer
        if self._task_reference is None:
            self._task_reference = self._measure(case.task, case.samples.task, self._exported)
        value = self._measure(case.task, case.samples.task, run)
        samples = case.samples.task.samples
        verdict = outputs.task_verdict(case.task, Origin.EMULATED, self._task_reference, value, samples)
        task = f"{verdict.metric}: {verdict.reason}"
        return Answer(passed=verdict.passed, reason=f"{answer.reason}; {task}" if verdict.passed else task)

    def _measure(self, task: TaskSpec, samples: SampleSet, run: Run) -> float:
        names = [info.name for info in self._case.exported.inputs]
        return outputs.measure(task, samples.batches, names, {"run": run}, Silent())["run"]
