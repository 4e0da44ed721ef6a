"""Whether what a run computes is near enough to the exported model's outputs, over some batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from pipeline.analysis.comparison import outputs
from pipeline.analysis.comparison.outputs import Judged, Run
from pipeline.core.artifacts import ErrorStats, OnnxModel, Origin
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec, ToleranceSpec

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one try gave.

    Attributes:
        passed: Whether it passes.
        reason: The figures, of what failed where something did.
        noise: Worst output's noise to signal, as a ratio of norms; inf where something is not finite and should be.
        decided: Whether the samples that were run decide against it, whatever others there are.
    """

    passed: bool
    reason: str
    noise: float = 0.0
    decided: bool = False


class Judge:
    """Asks about runs, against one reference that is computed once.

    Args:
        exported: The exported model.
        reference: What computes it.
        files: Batches.
        inputs: Graph inputs, with the axes that they mask.
        tolerances: What outputs may differ by.
        hasty: Whether to stop at the first batch that alone decides against a run. The batch that did so last comes
            first the next time.
    """

    def __init__(
        self,
        exported: OnnxModel,
        reference: Run,
        files: Sequence[Path],
        inputs: Mapping[str, InputSpec],
        tolerances: ToleranceSpec,
        *,
        hasty: bool = False,
    ) -> None:
        self._exported, self._reference = exported, _remembered(reference)
        self._files, self._inputs, self._tolerances, self._hasty = list(files), inputs, tolerances, hasty

    def __call__(self, run: Run) -> Answer:
        """Whether every output of `run` passes."""
        judged: dict[str, Judged] = {info.name: Judged() for info in self._exported.outputs}
        for file in tuple(self._files):
            for name, part in self._one(run, file).items():
                judged[name].merge(part)
            if self._hasty and any(_is_decided(item) for item in judged.values()):
                self._files.remove(file)
                self._files.insert(0, file)
                break
        verdicts = [outputs.verdict(name, Origin.EMULATED, item, self._tolerances) for name, item in judged.items()]
        told = [item for item in verdicts if not item.passed] or verdicts
        return Answer(
            passed=bool(verdicts) and all(item.passed for item in verdicts),
            reason="; ".join(f"output {item.name}: {item.reason}" for item in told),
            noise=max((_noise(item.stats) for item in verdicts), default=float("inf")),
            decided=any(_is_decided(item) for item in judged.values()),
        )

    def _one(self, run: Run, file: Path) -> Mapping[str, Judged]:
        return outputs.judge(
            self._exported, self._reference, {"run": run}, (file,), self._inputs, self._tolerances, Silent()
        )["run"]


def _is_decided(judged: Judged) -> bool:
    """Whether no further batch can make it pass."""
    return not judged.agrees or judged.difference.mismatched > 0


def _noise(stats: ErrorStats) -> float:
    return float("inf") if stats.mismatched_nonfinite else stats.relative_l2


def _remembered(run: Run) -> Run:
    """`run`, once for each batch."""
    known: dict[tuple[bytes, ...], Mapping[str, Array]] = {}

    def once(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        key = tuple(array.tobytes() for array in feeds.values())
        if key not in known:
            known[key] = run(feeds)
        return known[key]

    return once
