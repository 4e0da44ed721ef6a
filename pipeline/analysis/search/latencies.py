"""Measured latencies in place of counted costs, of those plans only that are to be decided between."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.analysis.search.choice import Tried
from pipeline.analysis.search.memory import Memory, Plan
from pipeline.core.errors import BuildError
from pipeline.core.progress import Progress
from pipeline.precision.costing.cost import Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Latencies of plans, each measured once.

    Attributes:
        where: GPU, driver and TensorRT, in words.
        measure: Measures a plan.
        memory: Of this graph, measured there.
    """

    where: str
    measure: Callable[[Plan], Measurement]
    memory: Memory[Measurement]

    def __call__(self, plan: Plan) -> Measurement:
        """How long `plan` takes.

        Raises:
            BuildError: TensorRT refuses it.
        """
        found = self.memory.get(plan)
        if found is None:
            found = self.measure(plan)
            self.memory.put(plan, found)
        return found

    def priced(self, plans: Iterable[Tried], formats: Callable[[Tried], Plan], progress: Progress) -> list[Tried]:
        """`plans` with measured costs; those that TensorRT refuses are left out.

        Raises:
            BuildError: It refuses all of them.
        """
        found: list[Tried] = []
        refused: BuildError | None = None
        for plan in plans:
            progress.note(f"building and timing: {plan.label}")
            try:
                cost = dataclasses.replace(plan.cost, measured=self(formats(plan)))
            except BuildError as error:
                progress.warn(f"{plan.label}: not built, so not taken: {error.what}")
                refused = error
            else:
                found.append(dataclasses.replace(plan, cost=cost))
        if refused is not None and not found:
            raise refused
        return found
