"""How long plans of one graph take on the GPU at hand: each is converted, built for it and timed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from pipeline.analysis import batches
from pipeline.analysis.gpu.gpu_views import built
from pipeline.backends.tensorrt import flavour as flavours
from pipeline.backends.tensorrt import profiles, timing
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import BuildRequest
from pipeline.core import device, digest, serde
from pipeline.core.artifacts import Decision, OnnxModel
from pipeline.core.device import Gpu
from pipeline.core.errors import BackendUnavailable
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, BuildSpec, InputSpec
from pipeline.graph import io
from pipeline.precision import casts
from pipeline.precision.costing.cost import Measurement

WHERE = "precision.search.cost"
GRAPHS = True
"""Plans are timed as one CUDA graph, which is how `pipeline.runtime` runs a shape that comes again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The GPU at hand, and what builds for it.

    Attributes:
        gpu: The GPU.
        driver: Version of its driver.
        flavour: TensorRT, where the spec's targets name `gpu`, else TensorRT-RTX.
        version: Version of that.
    """

    gpu: Gpu
    driver: str
    flavour: Flavour
    version: str

    def __str__(self) -> str:
        return f"{self.gpu.name}, driver {self.driver}, {self.flavour} {self.version}"


def bench(build: BuildSpec) -> Bench:
    """What plans can be timed on here.

    Raises:
        BackendUnavailable: There is no GPU, or the flavour that builds for it is not installed.
    """
    devices = device.probe()
    if not devices.gpus:
        raise BackendUnavailable(
            f"to measure what plans cost needs an NVIDIA GPU: {devices.reason}",
            where=WHERE,
            hint='run it on the machine with the GPU, or let costs be counted: cost = "counted", the default',
        )
    gpu = devices.gpus[0]
    flavour = flavours.of_target("gpu" if "gpu" in build.targets else gpu.capability)
    version = flavours.version(flavour)
    if version is None:
        raise BackendUnavailable(f"{flavour} is not installed", where=WHERE, hint=flavours.HINTS[flavour])
    return Bench(gpu=gpu, driver=devices.driver or f"for CUDA {devices.cuda}", flavour=flavour, version=version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopwatch:
    """Builds and times plans of one graph.

    Attributes:
        bench: What on.
        reference: The fp32 model.
        build: How plans are built.
        inputs: Graph inputs.
        axes: Sizes of every dynamic axis; plans are timed at their optimum.
        batch: A batch whose values inputs take.
        folder: Keeps TensorRT's timing cache from plan to plan; TensorRT-RTX has none.
        progress: Told of TensorRT's phases.
    """

    bench: Bench
    reference: OnnxModel
    build: BuildSpec
    inputs: Mapping[str, InputSpec]
    axes: Mapping[str, AxisRange]
    batch: Path
    folder: Path
    progress: Progress

    def __call__(self, plan: Iterable[Decision]) -> Measurement:
        """How long `plan` takes.

        Raises:
            BackendUnavailable: The built plan does not run here.
            BuildError: TensorRT refuses it.
        """
        with tempfile.TemporaryDirectory(prefix="latency-") as folder:
            request = self.request(plan, Path(folder))
            built(request, self.progress)
            found = timing.measure(
                request.plan,
                sha256=digest.of_file(request.plan),
                flavour=request.flavour,
                feeds=self.feeds(),
                graphs=GRAPHS,
            )
        return Measurement(latency_ms=found.median_ms, spread_ms=found.spread_ms)

    def request(self, plan: Iterable[Decision], folder: Path) -> BuildRequest:
        """Write the graph of `plan` into `folder`, to be built there as the spec says, for this GPU alone."""
        mixed = io.load(self.reference.path)
        casts.apply(mixed, plan)
        rtx = self.bench.flavour is Flavour.RTX
        return BuildRequest(
            onnx=io.save(mixed, folder),
            plan=folder / "timed.plan",
            flavour=self.bench.flavour,
            targets=(self.bench.gpu.capability,) if rtx else (),
            workspace_mib=self.build.workspace_mib,
            tf32=self.build.tf32,
            profiles=profiles.of_inputs(self.inputs, self.axes),
            timing_cache=None if rtx else self.folder / f"timing-{self.key}.cache",
        )

    def feeds(self) -> dict[str, npt.NDArray[Any]]:
        """The batch at the optimum of every axis: repeated where it is smaller, cut where it is larger."""
        arrays = batches.read(self.batch, list(self.inputs))
        shapes = {name: shape for name, (_, shape, _) in profiles.of_inputs(self.inputs, self.axes).items()}
        for name, shape in shapes.items():
            for axis, size in enumerate(shape):
                arrays[name] = arrays[name].take(range(size), axis=axis, mode="wrap")
        return arrays

    @property
    def key(self) -> str:
        """Digest of all that decides a latency besides the plan."""
        return digest.of_value(
            {
                "bench": str(self.bench),
                "reference": io.model_digest(self.reference),
                "settings": [self.build.workspace_mib, self.build.tf32, GRAPHS, timing.WARM_UP, timing.RUNS],
                "profiles": serde.to_value(profiles.of_inputs(self.inputs, self.axes)),
            }
        )
