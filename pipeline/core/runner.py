"""Run stages through the store: a stage whose inputs did not change is not run again."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

from pipeline.core import digest, serde
from pipeline.core.artifacts import Scratchpad, SourceTree
from pipeline.core.progress import Progress
from pipeline.core.stage import Stage
from pipeline.core.store import Entry, Store

R = TypeVar("R")


class Damaged(Exception):
    """An entry that looked unchanged has other content; it was discarded and must be made again."""


@dataclass(frozen=True, slots=True)
class Handle(Generic[R]):
    """An artifact in the store, loaded when it is asked for.

    Attributes:
        stage: Name of the stage that made it.
        entry: Where it lies.
        kind: Its type.
        store: The store.
        member: Field of the artifact that this handle stands for; None for all of it.
    """

    stage: str
    entry: Entry
    kind: type[Any]
    store: Store
    member: str | None = None

    @property
    def digest(self) -> str:
        """Digest of its content: what enters the keys of later stages."""
        return self.entry.digest if self.member is None else digest.of_value([self.entry.digest, self.member])

    def part(self, member: str) -> Handle[Any]:
        """A handle of one field of the artifact, for stages that take only that."""
        return replace(self, member=member)

    def read(self) -> R:
        """The record alone, for showing it: payload files are not checked."""
        artifact = self.entry.load(self.kind)
        found: R = artifact if self.member is None else getattr(artifact, self.member)
        return found

    def consume(self) -> R:
        """The artifact, after every digest of its entry was checked.

        Raises:
            Damaged: A digest does not hold; the entry is gone.
        """
        if not self.store.is_intact(self.entry):
            self.store.discard(self.entry.folder)
            raise Damaged(f"{self.stage} ({self.entry.folder})")
        return self.read()


@dataclass(slots=True)
class Runner:
    """Runs stages in one store and remembers which ran.

    Attributes:
        store: The store, whose lock is held.
        progress: Receives what stages say.
        fresh: Stages that ran.
        reused: Stages whose results were found.
    """

    store: Store
    progress: Progress
    fresh: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)

    def find(self, stage: Stage[..., R], **inputs: Any) -> Handle[R] | None:
        """The result of a stage for these inputs if it is in the store."""
        entry = self.store.find(stage.name, key(stage, inputs))
        return None if entry is None else Handle(stage.name, entry, stage.result_type, self.store)

    def run(self, stage: Stage[..., R], **inputs: Any) -> Handle[R]:
        """The result of a stage: found, or made now.

        Args:
            stage: The stage.
            inputs: Its arguments by name; a `Handle` stands for its artifact.

        Raises:
            Damaged: The entry of an input is damaged.
            PipelineError: What the stage raises.
        """
        found = self.find(stage, **inputs)
        if found is not None:
            self.reused.append(stage.name)
            return found
        values = {name: value.consume() if isinstance(value, Handle) else value for name, value in inputs.items()}
        self.progress.note(f"{stage.name} …")
        with self.store.workspace(stage.name) as out:
            artifact = stage(**values, out=out, progress=self.progress)
            entry = self.store.commit(stage.name, key(stage, inputs), out, artifact)
        self.fresh.append(stage.name)
        return Handle(stage.name, entry, stage.result_type, self.store)


def key(stage: Stage[..., Any], inputs: Mapping[str, Any]) -> str:
    """Digest of all that decides a stage's result.

    Raises:
        TypeError: `inputs` are not the stage's parameters.
    """
    expected = set(inspect.signature(stage.function).parameters) - {"out", "progress"}
    if expected != set(inputs):
        raise TypeError(f"stage {stage.name} takes {sorted(expected)}, was given {sorted(inputs)}")
    return digest.of_value(
        {"stage": stage.identity(), "inputs": {name: _input_digest(value) for name, value in inputs.items()}}
    )


def _input_digest(value: Any) -> str:
    if isinstance(value, Scratchpad):  # decides nothing
        return ""
    if isinstance(value, Handle | SourceTree):
        return value.digest
    if isinstance(value, Mapping):  # the order of graph inputs counts
        return digest.of_value([[name, serde.to_value(item)] for name, item in value.items()])
    return digest.of_value(serde.to_value(value))
