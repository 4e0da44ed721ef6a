"""The straight line from `engine.toml` to a bundle: the only place that knows how the stages follow each other."""

from __future__ import annotations

from pathlib import Path

from pipeline.core.errors import StoreError
from pipeline.core.order import ORDER
from pipeline.core.progress import Progress
from pipeline.core.runner import Damaged, Runner
from pipeline.core.store import Store
from pipeline.flow.engines import STORE, engines, read_spec
from pipeline.flow.line import Line
from pipeline.flow.options import Options, with_options
from pipeline.flow.results import Results, mixed_of, plan_of, ranges_of, reference_of

__all__ = [
    "STORE",
    "Options",
    "Results",
    "engines",
    "mixed_of",
    "plan_of",
    "ranges_of",
    "read_spec",
    "reference_of",
    "run",
]

RESTARTS = 3


def run(name: str, *, root: Path, options: Options | None = None, progress: Progress, until: str = "ship") -> Results:
    """Run the line for one engine; only what changed is done again.

    Args:
        name: Name of a folder below `root/engines`.
        root: The clone.
        options: What to change about the spec.
        progress: Receives what stages say.
        until: Last stage to run, one of `ORDER`.

    Raises:
        PipelineError: The spec, the sources or a stage failed. Finished stages are kept.
    """
    options = options or Options()
    if until not in ORDER:
        raise ValueError(f"no stage {until!r}")
    spec = with_options(read_spec(name, root=root), options)
    store = Store(root / STORE)
    with store.writing():
        for _ in range(RESTARTS):
            try:
                return Line(spec, root, options, Runner(store, progress)).run(until)
            except Damaged as damage:
                progress.warn(f"damaged entry in the store discarded, making it again: {damage}")
    raise StoreError("entries are damaged as soon as they are written", where=str(store.root), hint="check the disk")
