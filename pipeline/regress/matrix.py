"""The same engines in several environments, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.core import serde
from pipeline.core.errors import PipelineError
from pipeline.core.progress import Progress
from pipeline.regress import environments
from pipeline.regress.compare import Change, Comparison
from pipeline.regress.environments import Environment

VERDICTS = (0, 1)
"""Exit codes of `regress` that come with a comparison."""

HEADERS = ("environment", "engine", "verdict", "outputs", "task", "attentions", "kernels", "plan", "worse")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One engine in one environment.

    Attributes:
        environment: Its requirements, in words.
        engine: Name of the engine.
        comparison: What was found; None where nothing was.
        error: Why not.
    """

    environment: str
    engine: str
    comparison: Comparison | None
    error: str = ""

    @property
    def passed(self) -> bool:
        """Whether it ran and nothing is worse."""
        return self.comparison is not None and self.comparison.passed


def run(wanted: Iterable[Environment], engines: Sequence[str], *, root: Path, progress: Progress) -> list[Cell]:
    """Run `regress` for every engine in every environment; what fails is a cell, and the others still run."""
    cells = []
    for environment in wanted:
        words = ", ".join(environment.requirements)
        try:
            environments.make(environment, progress)
            environments.lay_out(environment, root)
        except PipelineError as error:
            cells += [Cell(environment=words, engine=name, comparison=None, error=str(error)) for name in engines]
            continue
        for name in engines:
            progress.note(f"{name} with {words} …")
            cells.append(_cell(environment, words, name))
    return cells


def rows(cells: Iterable[Cell]) -> list[tuple[str, ...]]:
    """The table of `HEADERS`."""
    return [_row(cell) for cell in cells]


def _cell(environment: Environment, words: str, name: str) -> Cell:
    done = environments.run(environment, "--quiet", "regress", name, "--json")
    if done.returncode not in VERDICTS:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["no output"]
        error = next((line for line in said if line.startswith("error:")), said[-1])
        return Cell(environment=words, engine=name, comparison=None, error=error)
    return Cell(environment=words, engine=name, comparison=serde.loads(tuple[Comparison, ...], done.stdout)[0])


def _row(cell: Cell) -> tuple[str, ...]:
    if cell.comparison is None:
        return (cell.environment, cell.engine, "not run", "", "", "", "", "", cell.error)
    found = cell.comparison
    worse = found.of(Change.WORSE)
    first = f"{worse[0].part} of {worse[0].name}: {worse[0].was} → {worse[0].now}" if worse else "nothing"
    more = f" and {len(worse) - 1} more" if len(worse) > 1 else ""
    figures = (_now(found, part) for part in ("output", "task", "fused attentions", "kernels", "plan size"))
    return (cell.environment, cell.engine, "passed" if found.passed else "WORSE", *figures, first + more)


def _now(found: Comparison, part: str) -> str:
    """The figures of one part; what was, too, where it moved."""
    rows = [row for row in found.rows if row.part == part]
    return "; ".join(row.now if row.was == row.now else f"{row.was} → {row.now}" for row in rows)
