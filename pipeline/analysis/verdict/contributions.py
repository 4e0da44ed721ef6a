"""How much of the error at the outputs each module makes, measured: its nodes round, all others compute in fp32.

Precision is an input of one session (`precision.switch`), so a module costs one run of one sample. Modules are opened
from the root down, always the one that makes most, until the runs are spent. Errors that are independent add in power,
so that the shares of a module's parts come to its own; where they come to more they cancel in part, where they come to
less they reinforce each other or one node's rounding changes what another reads.
"""

from __future__ import annotations

import heapq
import math
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.analysis import batches
from pipeline.analysis.bisection import single_samples
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Contribution, PrecisionPlan
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec
from pipeline.graph import modules
from pipeline.precision.emulation.switch import FLAGS, switched
from pipeline.precision.reducers.differences import Difference, between

RUNS = 40
"""Runs that are spent, the one of the whole model included; the fp32 run is not counted."""

ENOUGH = 32
"""Elements of its largest input from which on a sample is taken: errors of a few tokens are not those of a text."""

Noise = Callable[[frozenset[str]], float]
"""Nodes that round to the relative error power that they leave at the outputs."""


def contributions(
    reference: ir.Model,
    plan: PrecisionPlan,
    files: Sequence[Path],
    inputs: Mapping[str, InputSpec],
    progress: Progress,
    *,
    runs: int = RUNS,
) -> tuple[Contribution, ...]:
    """Measure modules on one small sample of the first batch.

    Args:
        reference: The fp32 model that `plan` decides about.
        plan: The decisions.
        files: Batches.
        inputs: Graph inputs.
        progress: Told of each run.
        runs: Runs to spend.

    Returns:
        The model (module "") first, then parents before their parts; empty where no node rounds.
    """
    graph = switched(reference, plan.decisions)
    parts = _parts(reference, frozenset(graph.nodes))
    if not graph.nodes:
        return ()
    noise = _noise(Session(graph.model, as_written=True), graph.nodes, _sample(files, inputs), progress)
    found = {"": noise(parts[""])}
    known = {parts[""]: found[""]}
    waiting = [(-found[""], "")]
    while waiting:
        _, module = heapq.heappop(waiting)
        inside = _inside(module, parts)
        if len(known) + len({parts[name] for name in inside} - known.keys()) > runs:
            continue
        for name in inside:
            if parts[name] not in known:
                known[parts[name]] = noise(parts[name])
            found[name] = known[parts[name]]
            heapq.heappush(waiting, (-found[name], name))
    whole = found[""]
    return tuple(
        Contribution(module=name, nodes=len(parts[name]), noise=found[name], share=_share(found[name], whole))
        for name in parts
        if name in found
    )


def _share(noise: float, whole: float) -> float:
    """Of the whole; all of it where the module alone makes NaN or infinities, nothing beside one that does."""
    if math.isinf(noise):
        return 1.0
    return noise / whole if 0 < whole < math.inf else 0.0


def _parts(reference: ir.Model, rounding: frozenset[str]) -> dict[str, frozenset[str]]:
    """Nodes that round, by module, those of submodules included; parents before their parts."""
    found: dict[str, set[str]] = defaultdict(set)
    for node in reference.graph:
        if str(node.name) in rounding:
            for module in ("", *modules.within(modules.module_of(node))):
                found[module].add(str(node.name))
    return {module: frozenset(names) for module, names in found.items()} or {"": frozenset()}


def _inside(module: str, parts: Mapping[str, frozenset[str]]) -> list[str]:
    """The modules right below one."""
    return [name for name in parts if name and name.rpartition(".")[0] == module]


def _sample(files: Sequence[Path], inputs: Mapping[str, InputSpec]) -> dict[str, npt.NDArray[Any]]:
    """A small sample of the first batch, or all of it where it cannot be taken apart."""
    with tempfile.TemporaryDirectory() as folder:
        feeds = batches.read(files[0], list(inputs))
        for file in single_samples.write(files[:1], inputs, Path(folder)):
            feeds = batches.read(file, list(inputs))
            if max(array.size for array in feeds.values()) >= ENOUGH:
                break
        return feeds


def _noise(session: Session, nodes: Sequence[str], feeds: Mapping[str, npt.NDArray[Any]], progress: Progress) -> Noise:
    """Runs with a few nodes rounding, held to the run with none."""

    def run(rounding: frozenset[str]) -> dict[str, npt.NDArray[Any]]:
        return session({**feeds, FLAGS: np.array([name not in rounding for name in nodes], bool)})

    exact = {name: array for name, array in run(frozenset()).items() if array.dtype.kind == "f"}
    done = 0

    def noise(rounding: frozenset[str]) -> float:
        nonlocal done
        found, done = run(rounding), done + 1
        progress.advance("modules alone", done)
        return float(np.mean([_power(between(exact[name], found[name])) for name in exact]))

    return noise


def _power(difference: Difference) -> float:
    """Power of the difference relative to the reference's; infinite where NaN or infinities were made."""
    if difference.mismatched > difference.nan_reference:
        return math.inf
    if difference.noise == 0:
        return 0.0
    return difference.noise / difference.signal if difference.signal > 0 else math.inf
