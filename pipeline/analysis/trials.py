"""Whether a mixed graph passes with some of its nodes back in fp32: one session, asked as often as needed."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.analysis import outputs
from pipeline.analysis.outputs import Run
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import OnnxModel, Origin, PrecisionPlan, Samples
from pipeline.core.progress import Progress, Silent
from pipeline.core.spec import InputSpec, TaskSpec, ToleranceSpec
from pipeline.graph import io
from pipeline.precision.switch import FLAGS, switched

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A mixed graph, and when it passes.

    Attributes:
        exported: Reference of outputs and of the task metric.
        reference: The canonical fp32 model.
        plan: The precision plan for `reference`.
        samples: Their `validation` and `task` sets are used.
        inputs: Graph inputs, with the axes that they mask.
        task: The task metric, or None.
        tolerances: What outputs may differ by.
    """

    exported: OnnxModel
    reference: OnnxModel
    plan: PrecisionPlan
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one try gave.

    Attributes:
        passed: Whether the mixed graph passes so.
        reason: The figures, of what failed where something did.
    """

    passed: bool
    reason: str


class Trials:
    """Asks one question of one session; equal questions are answered from memory.

    The task metric is measured only where the outputs pass.

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
        self._reference = _remembered(self._exported)
        self._task_reference = self._measure(self._exported)
        self._known: dict[frozenset[str], Answer] = {}

    def __call__(self, back: frozenset[str]) -> Answer:
        """Whether it passes with the nodes of these names in fp32."""
        if back not in self._known:
            self._known[back] = self.ask(self._with(back))
            self.count += 1
            self._progress.advance("tries", self.count)
        return self._known[back]

    def on(self, sample: Path) -> Trials:
        """The same questions of one sample's outputs, without the task metric: only a hint, but a quick one."""
        trials = copy.copy(self)
        alone = dataclasses.replace(self._case.samples.validation, batches=(sample,), samples=1)
        samples = dataclasses.replace(self._case.samples, validation=alone, task=None)
        trials._case = dataclasses.replace(self._case, samples=samples, task=None)
        trials._known, trials.count = {}, 0
        return trials

    def ask(self, run: Run) -> Answer:
        """Whether what `run` computes passes."""
        case = self._case
        judged = outputs.judge(
            case.exported,
            self._reference,
            {"mixed": run},
            case.samples.validation.batches,
            case.inputs,
            case.tolerances,
            Silent(),
        )["mixed"]
        verdicts = [outputs.verdict(name, Origin.EMULATED, item, case.tolerances) for name, item in judged.items()]
        if bad := [f"output {item.name}: {item.reason}" for item in verdicts if not item.passed]:
            return Answer(passed=False, reason="; ".join(bad))
        figures = [f"output {item.name}: {item.reason}" for item in verdicts]
        value = self._measure(run)
        if case.task is None or self._task_reference is None or value is None:
            return Answer(passed=bool(verdicts), reason="; ".join(figures))
        samples = 0 if case.samples.task is None else case.samples.task.samples
        verdict = outputs.task_verdict(case.task, Origin.EMULATED, self._task_reference, value, samples)
        task = f"{verdict.metric}: {verdict.reason}"
        return Answer(passed=verdict.passed, reason="; ".join([*figures, task]) if verdict.passed else task)

    def _with(self, back: frozenset[str]) -> Run:
        flags = np.array([name in back for name in self.nodes], bool)
        return lambda feeds: self._session({**feeds, FLAGS: flags})

    def _measure(self, run: Run) -> float | None:
        case = self._case
        if case.task is None or case.samples.task is None:
            return None
        names = [info.name for info in case.exported.inputs]
        return outputs.measure(case.task, case.samples.task.batches, names, {"run": run}, Silent())["run"]


def _remembered(run: Run) -> Run:
    """`run`, once for each batch."""
    known: dict[tuple[bytes, ...], Mapping[str, Array]] = {}

    def once(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        key = tuple(array.tobytes() for array in feeds.values())
        if key not in known:
            known[key] = run(feeds)
        return known[key]

    return once
