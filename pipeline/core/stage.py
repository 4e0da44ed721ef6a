"""The `stage` decorator: what the flow must know of a function to store its results."""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, get_type_hints

from pipeline.core import digest

P = ParamSpec("P")
R = TypeVar("R")

PACKAGE = Path(__file__).parents[1]
COLLECT_AFTER = 500_000
"""Objects made between two collections. CPython's 700 cost the calibration of bert-base a sixth of its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage(Generic[P, R]):
    """A typed function from artifacts to one artifact.

    Its parameters `out` (an empty folder for payload files) and `progress` are given by the flow and are no part of
    the key; all others are.

    Attributes:
        function: The function.
        name: Its name; also the name of its folder in the store.
        version: Raised when its results change for a reason that its sources do not show.
        rooms: Folders or files of `pipeline/` whose sources decide its results, besides its own file.
        tools: Distributions whose versions decide its results.
    """

    function: Callable[P, R]
    name: str
    version: int
    rooms: tuple[str, ...]
    tools: tuple[str, ...]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        with _few_collections():
            return self.function(*args, **kwargs)

    @property
    def result_type(self) -> type[R]:
        """The artifact type that it returns."""
        kind: type[R] = get_type_hints(self.function)["return"]
        return kind

    def identity(self) -> dict[str, Any]:
        """What decides its results besides its inputs, as JSON-compatible values."""
        own = Path(inspect.getfile(self.function)).relative_to(PACKAGE).as_posix()
        return {
            "stage": self.name,
            "version": self.version,
            "sources": {room: _source_digest(room) for room in ("core", own, *self.rooms)},
            "tools": {tool: _version(tool) for tool in self.tools},
        }


def stage(
    *, version: int, rooms: tuple[str, ...] = (), tools: tuple[str, ...] = ()
) -> Callable[[Callable[P, R]], Stage[P, R]]:
    """Make a function a stage. See `Stage` for the arguments."""

    def wrap(function: Callable[P, R]) -> Stage[P, R]:
        return Stage(function=function, name=function.__name__, version=version, rooms=rooms, tools=tools)

    return wrap


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the garbage collector walk a stage's objects seldom: graphs hold hundreds of thousands that stay alive."""
    before = gc.get_threshold()
    gc.set_threshold(COLLECT_AFTER, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


@functools.cache
def _source_digest(room: str) -> str:
    path = PACKAGE / room
    sources = [path] if path.is_file() else sorted(path.rglob("*.py"))
    if not sources:
        raise ValueError(f"no sources in pipeline/{room}")
    return digest.of_files(PACKAGE, sources)


@functools.cache
def _version(tool: str) -> str | None:
    try:
        return importlib.metadata.version(tool)
    except importlib.metadata.PackageNotFoundError:
        return None
