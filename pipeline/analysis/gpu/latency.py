"""fp32, low and mixed engines of one model side by side on a GPU: how long each takes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from pipeline.analysis.gpu.gpu_views import built, like
from pipeline.backends.tensorrt import timing
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.core import digest
from pipeline.core.artifacts import EnginePlan, Latency, OnnxModel
from pipeline.core.device import Gpu
from pipeline.core.errors import BackendUnavailable, BuildError
from pipeline.core.formats import Format
from pipeline.core.progress import Progress
from pipeline.graph import io
from pipeline.precision import casts
from pipeline.precision.policy.policies import uniform

MIXED = "mixed"


def latencies(
    reference: OnnxModel,
    plan: EnginePlan,
    low: Format,
    gpu: Gpu,
    feeds: Mapping[str, npt.NDArray[Any]],
    progress: Progress,
) -> tuple[tuple[Latency, ...], tuple[str, ...]]:
    """Time the shipped plan beside an fp32 and an all-low engine, each with and without CUDA graphs.

    Args:
        reference: The fp32 model.
        plan: The shipped plan.
        low: The low format.
        gpu: The GPU at hand.
        feeds: One array an input, within the profile.
        progress: Told of the builds.

    Returns:
        The latencies, and what could not be built or run, with the reason.
    """
    found: list[Latency] = []
    notes: list[str] = []
    with tempfile.TemporaryDirectory(prefix="latency-") as folder:
        for name in (str(Format.FP32), str(low), MIXED):
            try:
                path, sha256 = _plan(name, reference, plan, low, gpu, Path(folder), progress)
                found += _timed(name, path, sha256, Flavour(plan.flavour), feeds, progress)
            except (BackendUnavailable, BuildError) as error:
                notes.append(f"latency of {name}: {error}")
    return tuple(found), tuple(notes)


def _plan(
    name: str, reference: OnnxModel, plan: EnginePlan, low: Format, gpu: Gpu, folder: Path, progress: Progress
) -> tuple[Path, str]:
    """The plan of one engine and its digest: the shipped one, or one built now in the same way."""
    if name == MIXED:
        return plan.path, plan.digest
    path = reference.path
    if name == low:
        model = io.load(path)
        casts.apply(model, uniform(model, low))
        path = io.save(model, folder)
    request = like(plan, gpu, path, folder / f"{name}.plan")
    built(request, progress)
    return request.plan, digest.of_file(request.plan)


def _timed(
    name: str,
    path: Path,
    sha256: str,
    flavour: Flavour,
    feeds: Mapping[str, npt.NDArray[Any]],
    progress: Progress,
) -> Iterator[Latency]:
    for graphs in (False, True):
        progress.note(f"timing {name}, CUDA graphs {'on' if graphs else 'off'}")
        times = timing.measure(path, sha256=sha256, flavour=flavour, feeds=feeds, graphs=graphs)
        yield Latency(engine=name, graphs=graphs, median_ms=times.median_ms, p99_ms=times.p99_ms, runs=times.runs)
