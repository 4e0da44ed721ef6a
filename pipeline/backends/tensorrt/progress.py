"""TensorRT's progress monitor, forwarded to whoever listens."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

Listener = Callable[[str, int, int], None]
"""Gets the path of a phase (`Building engine / Timing tactics`), its finished steps and all its steps."""


def monitor(trt: ModuleType, listener: Listener) -> Any:
    """An `IProgressMonitor` that reports the outermost phases to `listener`; it has to be a subclass."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc,name-defined]  # see above
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.nested: set[str] = set()

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            if parent_phase in self.nested or (parent_phase and parent_phase in self.steps):
                self.nested.add(phase_name)
                return
            listener(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name not in self.nested:
                listener(phase_name, step + 1, self.steps.get(phase_name, 0))
            return True

        def phase_finish(self, phase_name: str) -> None:
            if phase_name not in self.nested:
                steps = self.steps.get(phase_name, 0)
                listener(phase_name, steps, steps)

    return Monitor()
