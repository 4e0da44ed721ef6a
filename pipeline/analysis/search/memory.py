"""What was found of plans, on disk: what a killed search had found is not asked again."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Generic, TypeVar, cast

from pipeline.core import digest, serde
from pipeline.core.artifacts import Decision
from pipeline.precision.emulation.switch import formats, is_low

T = TypeVar("T")

Plan = tuple[Decision, ...]


class Memory(Generic[T]):
    """Answers, one line each, written as they come.

    Args:
        kind: What an answer is.
        file: Where; it is made on first use.
    """

    def __init__(self, kind: type[T], file: Path) -> None:
        self._file = file
        self._known = dict(_lines(kind, file))

    def get(self, plan: Plan) -> T | None:
        """The answer for `plan`, if there is one."""
        return self._known.get(plan_digest(plan))

    def put(self, plan: Plan, answer: T) -> None:
        """Keep an answer."""
        key = plan_digest(plan)
        self._known[key] = answer
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([key, serde.to_value(answer)]) + "\n")


def plan_digest(plan: Plan) -> str:
    """Digest of what decides the numbers of a plan: which node rounds to what."""
    return digest.of_value({item.node: serde.to_value(formats(item)) for item in plan if is_low(item)})


def _lines(kind: type[T], file: Path) -> Iterable[tuple[str, T]]:
    """Whole lines of the file; a process that was killed while it wrote leaves the last one broken."""
    if not file.is_file():
        return
    adapter = serde.adapter(cast("Hashable", kind))
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            key, value = json.loads(line)
            yield str(key), adapter.validate_python(value)
        except ValueError:
            continue
