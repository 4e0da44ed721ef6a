"""One graph on a GPU in two engines: the shipped plan, and one with every tensor marked as an output.

The shipped plan is what is judged. It hands out its outputs and, built with `build.debug_tensors`, the tensors that no
fusion took. The tapped engine hands out every layer, but marked outputs cannot be fused away: it is another engine.
Where both have a tensor and differ by more than its roundings explain, fusion changes the numbers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from pipeline.analysis import batches
from pipeline.analysis.bisection import single_samples
from pipeline.analysis.gpu.gpu_plan import loaded
from pipeline.backends.onnxruntime import Session
from pipeline.backends.tensorrt import process
from pipeline.backends.tensorrt.engine import Engine
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import BuildAnswer, BuildRequest
from pipeline.core import digest
from pipeline.core.artifacts import EnginePlan, ErrorStats, Fate, OnnxModel, View
from pipeline.core.device import Gpu
from pipeline.core.errors import BuildError
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec
from pipeline.graph import io
from pipeline.precision.reducers.differences import between

Arrays = Mapping[str, npt.NDArray[Any]]

TAPPED = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16})
"""Types that leave an engine as arrays: numpy has no bf16."""


def views(
    reference: OnnxModel,
    mixed: OnnxModel,
    plan: EnginePlan,
    gpu: Gpu,
    floors: Mapping[str, float],
    floor: float,
    files: Sequence[Path],
    inputs: Mapping[str, InputSpec],
    progress: Progress,
) -> tuple[View, ...]:
    """Both views on one sample.

    Args:
        reference: The fp32 model.
        mixed: The graph that `plan` was built from.
        plan: The shipped plan.
        gpu: The GPU at hand.
        floors: SQNR in dB that the roundings upstream leave in a tensor, where that is known.
        floor: The same for all others.
        files: Batches.
        inputs: Graph inputs.
        progress: Told of the build.

    Raises:
        BuildError: TensorRT refused the tapped graph.
    """
    feeds = _sample(plan, files, inputs)
    expected = every_tensor(io.load(reference.path), feeds)
    with loaded(plan) as engine:
        shipped = engine.tensors(feeds)
    with tempfile.TemporaryDirectory(prefix="tapped-") as folder:
        graph = io.save(tapped(io.load(mixed.path)), Path(folder))
        request = like(plan, gpu, graph, Path(folder) / "tapped.plan")
        built(request, progress)
        with Engine(request.plan, sha256=digest.of_file(request.plan), flavour=request.flavour) as engine:
            marked = engine(feeds)
    return tuple(side_by_side(expected, shipped, marked, mixed.fates, floors, floor))


def tapped(mixed: ir.Model) -> ir.Model:
    """`mixed`, which is changed, with every float tensor of its main graph as an output."""
    outputs = mixed.graph.outputs
    outputs.extend(
        value
        for node in mixed.graph
        for value in node.outputs
        if value.name and value.dtype in TAPPED and not value.is_graph_output()
    )
    return mixed


def side_by_side(
    expected: Arrays, shipped: Arrays, marked: Arrays, fates: Iterable[Fate], floors: Mapping[str, float], floor: float
) -> Iterator[View]:
    """One view for each tensor of the reference that either engine hands out.

    Args:
        expected: The reference's tensors.
        shipped: What the shipped plan handed out, by name in the mixed graph.
        marked: What the tapped engine handed out.
        fates: What became of the reference's tensors in the mixed graph.
        floors: As for `views`.
        floor: As for `views`.
    """
    told = {fate.tensor: fate for fate in fates}
    for name, array in expected.items():
        fate = told.get(name, Fate(tensor=name, now=name))
        now = fate.now or ""
        one, other = (_as_reference(side[now], fate) if now in side else None for side in (shipped, marked))
        if one is None and other is None:
            continue
        apart = None if one is None or other is None else _stats(one, other)
        yield View(
            tensor=name,
            engine=None if one is None else _stats(array, one),
            tapped=None if other is None else _stats(array, other),
            apart_db=None if apart is None else apart.sqnr_db,
            fusion_changes=apart is not None and not _together(apart, floors.get(name, floor)),
        )


def _together(apart: ErrorStats, floor: float) -> bool:
    return apart.mismatched_nonfinite == 0 and apart.sqnr_db >= floor


def _stats(reference: npt.NDArray[Any], candidate: npt.NDArray[Any]) -> ErrorStats:
    return between(reference, candidate).stats()


def _as_reference(array: npt.NDArray[Any], fate: Fate) -> npt.NDArray[Any]:
    """What stands for a tensor, brought back to the tensor's own scale and layout, in double precision."""
    exponents = np.array(fate.exponents or (0,)) + fate.exponent
    wide = np.ldexp(array.astype(np.float64), -exponents.reshape(-1, *[1] * (-1 - fate.axis)) if exponents.any() else 0)
    return wide if fate.layout is None else wide.transpose(np.argsort(fate.layout))


def every_tensor(model: ir.Model, feeds: Arrays) -> dict[str, npt.NDArray[Any]]:
    """Every float tensor of the main graph of an fp32 model, in graph order."""
    values = [value for node in model.graph for value in node.outputs if value.name and value.dtype in TAPPED]
    model.graph.outputs.clear()
    model.graph.outputs.extend(values)
    return Session(model, as_written=True)(feeds)


def _sample(plan: EnginePlan, files: Sequence[Path], inputs: Mapping[str, InputSpec]) -> dict[str, npt.NDArray[Any]]:
    """The smallest sample of the first batch that the plan takes, or that batch."""
    with tempfile.TemporaryDirectory() as folder:
        for file in single_samples.write(files[:1], inputs, Path(folder)):
            feeds = batches.read(file, list(inputs))
            if all(_fits(array.shape, plan.profiles[name]) for name, array in feeds.items()):
                return feeds
    return batches.read(files[0], list(inputs))


def _fits(shape: tuple[int, ...], profile: tuple[tuple[int, ...], ...]) -> bool:
    low, _, high = profile
    return all(least <= size <= most for least, size, most in zip(low, shape, high, strict=True))


def like(plan: EnginePlan, gpu: Gpu, onnx: Path, path: Path) -> BuildRequest:
    """The request for another graph under the settings of `plan`, for this GPU."""
    flavour = Flavour(plan.flavour)
    return BuildRequest(
        onnx=onnx,
        plan=path,
        flavour=flavour,
        targets=(gpu.capability,) if flavour is Flavour.RTX else (),
        workspace_mib=plan.workspace_mib,
        tf32=plan.tf32,
        profiles=plan.profiles,
    )


def built(request: BuildRequest, progress: Progress) -> BuildAnswer:
    """Build it.

    Raises:
        BuildError: TensorRT refused it.
    """
    answer = process.build(request, request.plan.with_suffix(".log"), progress)
    if not answer.built:
        raise BuildError(f"{request.flavour} refused it: {'; '.join(answer.errors)}", where=request.plan.stem)
    return answer
