"""What each plan of one graph does to its outputs: one session, and a memory that outlives the process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from pipeline.analysis.comparison.outputs import Run
from pipeline.analysis.verdict.judge import Answer, Judge
from pipeline.backends.onnxruntime import Session
from pipeline.core import digest, serde
from pipeline.core.artifacts import Decision
from pipeline.core.progress import Progress
from pipeline.graph import io
from pipeline.precision.emulation.switch import FLAGS, Switched, formats, is_low, switched

Plan = tuple[Decision, ...]


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


class Memory:
    """Answers on disk, one line each, written as they come: what a killed search had found is not asked again.

    Args:
        file: Where; it is made on first use.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = dict(_lines(file))

    def get(self, key: str) -> Answer | None:
        """The answer under `key`, if there is one."""
        return self._known.get(key)

    def put(self, key: str, answer: Answer) -> None:
        """Keep an answer."""
        self._known[key] = answer
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([key, serde.to_value(answer)]) + "\n")


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

    def __init__(self, emulator: Emulator, judge: Judge, memory: Memory, progress: Progress) -> None:
        self._emulator, self._judge, self._memory, self._progress = emulator, judge, memory, progress
        self._asked: set[str] = set()
        self.count = 0
        self.remembered = 0

    def __call__(self, plan: Plan) -> Answer:
        """What `plan` does."""
        key = plan_digest(plan)
        answer = self._memory.get(key)
        if answer is None:
            answer = self._judge(self._emulator(plan))
            self._memory.put(key, answer)
            self.count += 1
        elif key not in self._asked:
            self.remembered += 1
        self._asked.add(key)
        self._progress.advance("plans tried", len(self._asked))
        return answer


def plan_digest(plan: Plan) -> str:
    """Digest of what decides the numbers of a plan: which node rounds to what."""
    return digest.of_value({item.node: serde.to_value(formats(item)) for item in plan if is_low(item)})


def _lines(file: Path) -> Iterable[tuple[str, Answer]]:
    """Whole lines of the file; a process that was killed while it wrote leaves the last one broken."""
    if not file.is_file():
        return
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            key, value = json.loads(line)
        except ValueError:
            continue
        yield key, _answer(value)


def _answer(value: Mapping[str, Any]) -> Answer:
    return Answer(
        passed=bool(value["passed"]),
        reason=str(value["reason"]),
        noise=float(value["noise"]),
        decided=bool(value["decided"]),
    )
