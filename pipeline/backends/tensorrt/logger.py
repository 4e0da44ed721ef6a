"""TensorRT's log in one place: every line to a stream, warnings and errors kept, each once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TextIO

from pipeline.backends.tensorrt.flavour import Flavour, select

HARMLESS = re.compile(r"Make sure input \S+ has Int64 binding")
"""Said of every int64 input, which is bound as one."""


@dataclass(slots=True)
class BuildLog:
    """Receives what TensorRT says.

    Attributes:
        stream: Where every line goes, as it comes.
        warnings: Each warning once, in the order of its first appearance; none that are known to mean nothing.
        errors: Each error once, likewise.
    """

    stream: TextIO
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def write(self, severity: str, message: str) -> None:
        """Take one message of severity `INTERNAL_ERROR`, `ERROR`, `WARNING`, `INFO` or `VERBOSE`."""
        print(f"[{severity}] {message}", file=self.stream, flush=True)
        kept = {"WARNING": self.warnings, "ERROR": self.errors, "INTERNAL_ERROR": self.errors}.get(severity)
        if kept is not None and message not in kept and not HARMLESS.search(message):
            kept.append(message)


def install(flavour: Flavour, log: BuildLog) -> None:
    """Make `log` the logger of `flavour` in this process; call it before anything else of TensorRT is used.

    TensorRT keeps the first logger that a process gives it, and Polygraphy gives its own unless it has one already.
    """
    trt = select(flavour)
    from polygraphy.backend.trt import util

    util.TRT_LOGGER = _logger(trt, log)


def _logger(trt: ModuleType, log: BuildLog) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc,name-defined]  # the base comes from a module chosen at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity != trt.ILogger.VERBOSE:
                log.write(severity.name, message)

    return Logger()
