"""What `validate --gpu-check` adds on a GPU: the tapped view beside the shipped plan, and latencies side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.analysis import batches
from pipeline.analysis.gpu import gpu_views
from pipeline.analysis.gpu.latency import latencies
from pipeline.core.artifacts import EnginePlan, GpuCheck, Layer, OnnxModel, View
from pipeline.core.device import Gpu
from pipeline.core.errors import BackendUnavailable, BuildError
from pipeline.core.formats import Format
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec, ToleranceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class OnGpu:
    """What is looked at.

    Attributes:
        reference: The fp32 model.
        mixed: The graph that `plan` was built from.
        plan: The shipped plan.
        gpu: The GPU at hand.
        low: The low format.
        inputs: Graph inputs.
    """

    reference: OnnxModel
    mixed: OnnxModel
    plan: EnginePlan
    gpu: Gpu
    low: Format
    inputs: Mapping[str, InputSpec]


def check(
    subject: OnGpu, layers: Sequence[Layer], files: Sequence[Path], tolerances: ToleranceSpec, progress: Progress
) -> GpuCheck:
    """Both views on one sample, latencies on the first batch; what fails is a note, not an error."""
    found, notes = _views(subject, layers, files, tolerances, progress)
    feeds = batches.read(files[0], list(subject.inputs))
    times, missed = latencies(subject.reference, subject.plan, subject.low, subject.gpu, feeds, progress)
    return GpuCheck(
        gpu=subject.gpu.name,
        views=found,
        latencies=times,
        shapes={name: array.shape for name, array in feeds.items()},
        notes=(*notes, *missed),
    )


def _views(
    subject: OnGpu, layers: Sequence[Layer], files: Sequence[Path], tolerances: ToleranceSpec, progress: Progress
) -> tuple[tuple[View, ...], tuple[str, ...]]:
    floors = {layer.tensor: layer.floor_db for layer in layers if layer.floor_db is not None}
    try:
        return gpu_views.views(
            subject.reference,
            subject.mixed,
            subject.plan,
            subject.gpu,
            floors,
            tolerances.output_sqnr_db,
            files,
            subject.inputs,
            progress,
        ), ()
    except (BackendUnavailable, BuildError) as error:
        return (), (f"tapped engine: {error}",)
