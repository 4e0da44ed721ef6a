"""What each plan of one graph does to its outputs: one session for all, and each asked once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import onnx_ir as ir

from pipeline.analysis.comparison.outputs import Run
from pipeline.analysis.search.memory import Memory, Plan, plan_digest
from pipeline.analysis.verdict.judge import Answer, Judge
from pipeline.backends.onnxruntime import Session
from pipeline.core import digest
from pipeline.core.progress import Progress
from pipeline.graph import io
from pipeline.precision.emulation.switch import FLAGS, Switched, switched


class Emulator:
    """Runs plans of one graph by emulation, in one session for all of them.

    A plan that makes a node round in a way that no plan before it did costs a new session.

    Args:
        reference: The canonical fp32 model.
        plans: Plans whose ways of rounding are known to be asked for.

    Attributes:
        digest: Of the switched graph for those plans, the contents of weights apart.
    """

    def __init__(self, reference: Path, plans: Iterable[Plan]) -> None:
        self._reference, self._plans = reference, list(plans)
        self._switch, self._session = self._load()
        self.digest = digest.of_bytes(ir.to_proto(self._switch.model).SerializeToString(deterministic=True))

    def __call__(self, plan: Plan) -> Run:
        """What computes `plan`."""
        if not self._switch.knows(plan):
            self._plans.append(plan)
            self._switch, self._session = self._load()
        session, flags = self._session, self._switch.flags(plan)
        return lambda feeds: session({**feeds, FLAGS: flags})

    def _load(self) -> tuple[Switched, Session]:
        switch = switched(io.load(self._reference), *self._plans)
        return switch, Session(switch.model, as_written=True)


class PlanTrials:
    """Asks a judge about plans, each once.

    Args:
        emulator: Runs them.
        judge: Judges what they compute.
        memory: Of this graph, judged so.
        progress: Told of each plan.

    Attributes:
        count: Plans that were run.
        remembered: Plans that were not, because an earlier run had.
    """

    def __init__(self, emulator: Emulator, judge: Judge, memory: Memory[Answer], progress: Progress) -> None:
        self._emulator, self._judge, self._memory, self._progress = emulator, judge, memory, progress
        self._asked: set[str] = set()
        self.count = 0
        self.remembered = 0

    def __call__(self, plan: Plan) -> Answer:
        """What `plan` does."""
        key = plan_digest(plan)
        answer = self._memory.get(plan)
        if answer is None:
            answer = self._judge(self._emulator(plan))
            self._memory.put(plan, answer)
            self.count += 1
        elif key not in self._asked:
            self.remembered += 1
        self._asked.add(key)
        self._progress.advance("plans tried", len(self._asked))
        return answer
