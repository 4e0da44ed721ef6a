"""export: the module as an fp32 ONNX model, held to the module itself at several shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.artifacts import Check, OnnxModel, Samples, SourceTree, Weights
from pipeline.core.errors import CalibrationError, ExportError, SpecError
from pipeline.core.formats import Format
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, InputSpec, ModelSpec, Source, ToleranceSpec
from pipeline.core.stage import stage

if TYPE_CHECKING:
    import onnx_ir as ir

    from pipeline.models.agreement import Run, Tolerance
    from pipeline.models.shapes import Array, Case


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exported:
    """A graph, and what it is held to.

    Attributes:
        model: The graph.
        source: Runs what it was made from.
        given: Formats that it arrived with.
    """

    model: ir.Model
    source: Run
    given: dict[str, Format] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What the stage was given, with one batch of samples."""

    model: ModelSpec
    inputs: dict[str, InputSpec]
    axes: dict[str, AxisRange]
    weights: Weights
    engine: SourceTree
    sample: dict[str, Array]


@stage(
    version=1,
    rooms=(
        "models",
        "graph",
        "precision/rewrites",
        "backends/torch_export.py",
        "backends/array_runner.py",
        "backends/onnxruntime.py",
    ),
    tools=("torch", "transformers", "onnx", "onnx-ir", "onnxscript", "onnxruntime-gpu", "gguf"),
)
def export(
    model: ModelSpec,
    inputs: dict[str, InputSpec],
    axes: dict[str, AxisRange],
    tolerances: ToleranceSpec,
    weights: Weights,
    engine: SourceTree,
    samples: Samples,
    *,
    out: Path,
    progress: Progress,
) -> OnnxModel:
    """Export a module (or take in an ONNX file) and show that nothing was lost on the way.

    Args:
        model: Which module.
        inputs: Graph inputs.
        axes: Sizes of every dynamic axis.
        tolerances: `export_atol` holds here.
        weights: The checkpoint.
        engine: The engine's folder, where callables lie.
        samples: Real samples, cut and repeated to the shapes that are traced and checked.
        out: Folder for `model.onnx` and its weights.
        progress: Told of each step.

    Returns:
        The fp32 model, every tensor typed, with the comparison as its check `exported`.

    Raises:
        ExportError: The module cannot be exported, an axis is baked in, or the outputs differ.
        SourceError: The module cannot be loaded.
        GraphError: An ONNX file cannot be used.
    """
    from pipeline.backends.onnxruntime import Session
    from pipeline.graph import io, typed
    from pipeline.models import agreement, shapes

    sample = _first_batch(samples, inputs)
    job = _Job(model=model, inputs=inputs, axes=axes, weights=weights, engine=engine, sample=sample)
    progress.note(f"exporting {model.architecture or model.callable or model.weights.path} to opset {model.opset}")
    exported = _taken(job) if model.source is Source.ONNX else _traced(job)
    typed.require_typed(exported.model)
    path = io.save(exported.model, out)
    _require_valid(path)
    session = Session(path)

    def candidate(feeds: Mapping[str, Array]) -> Sequence[Array]:
        return list(session(feeds).values())

    progress.note("comparing the ONNX model with its source at several shapes")
    rounded = bool(exported.given)
    rtol = agreement.HALF_RTOL if rounded else 0.0
    tolerance = agreement.Tolerance(atol=tolerances.export_atol, rtol=rtol, rounded=rounded)
    cases = list(shapes.cases(inputs, axes, sample))
    check = _agreed(job, exported.source, candidate, cases, session.outputs, tolerance)
    saved = io.load(path)
    return io.describe(saved, path, provenance=weights.provenance, given=exported.given, checks=(check,))


def _agreed(
    job: _Job, source: Run, candidate: Run, cases: Sequence[Case], outputs: Sequence[str], tolerance: Tolerance
) -> Check:
    """The check, or an error that names the axis which is baked in, if one is."""
    from pipeline.models import agreement, shapes

    check, failed = agreement.check(source, candidate, cases, outputs, tolerance)
    if failed is None:
        return check
    base = shapes.traced(job.inputs, job.axes, job.sample)
    if agreement.difference(source, candidate, base, outputs, tolerance).problem is None:
        for axis, case in shapes.varied(base, job.inputs, job.axes, job.sample):
            found = agreement.difference(source, candidate, case, outputs, tolerance)
            if found.problem is not None:
                holder = next(name for name, spec in job.inputs.items() if axis in spec.axes)
                raise ExportError(
                    f"axis '{axis}' of input '{holder}' is baked in: with {case.name}, {found.problem}",
                    where=f"inputs.{holder}.axes",
                    hint=f"keep '{axis}' out of Python numbers in the module, or give its size instead of its name",
                )
    raise ExportError(f"the ONNX model is not its source: {check.summary}", where=job.weights.provenance.source)


def _traced(job: _Job) -> _Exported:
    """A module of transformers or of a callable, through torch."""
    from pipeline.backends import torch_export
    from pipeline.models import adapter, callable_source, recurrence, shapes
    from pipeline.precision.rewrites.empty_rows import restore_empty_rows

    by_name = job.model.source is Source.TRANSFORMERS
    if not job.model.outputs:
        raise SpecError("missing; name the outputs to export", where="model.outputs")
    module = adapter.Adapter(_module(job), inputs=tuple(job.inputs), outputs=job.model.outputs, by_name=by_name).eval()
    request = torch_export.Request(
        module=module,
        example=shapes.traced(job.inputs, job.axes, job.sample).feeds,
        inputs=job.inputs,
        axes=job.axes,
        outputs=job.model.outputs,
        opset=job.model.opset,
        prefix=adapter.INNER,
    )
    with callable_source.importable(job.weights.folder), recurrence.as_operators(module):
        model = torch_export.export(request)
    restore_empty_rows(model)
    return _Exported(model=model, source=lambda feeds: torch_export.call(module, feeds))


def _module(job: _Job) -> Any:
    from pipeline.models import callable_source, transformers_source

    if job.model.source is Source.TRANSFORMERS:
        return transformers_source.load(job.model, job.weights)
    reference = str(job.model.callable)
    module, example = callable_source.load(reference, job.engine.folder, job.weights)
    callable_source.require_inputs(example, job.inputs, reference)
    return module


def _taken(job: _Job) -> _Exported:
    """An ONNX file as it arrives; the file itself is what the result is held to."""
    from pipeline.backends.onnxruntime import Session
    from pipeline.models import onnx_source

    path = job.weights.checkpoint
    arrived = onnx_source.load(path, opset=job.model.opset, inputs=job.inputs, axes=job.axes, outputs=job.model.outputs)
    original = Session(path)
    kept = [str(value.name) for value in arrived.model.graph.outputs]

    def source(feeds: Mapping[str, Array]) -> Sequence[Array]:
        results = original({name: array.astype(arrived.dtypes[name]) for name, array in feeds.items()})
        return [_widened(results[name]) for name in kept]

    return _Exported(model=arrived.model, source=source, given=arrived.given)


def _widened(array: Array) -> Array:
    return array.astype("float32") if array.dtype == "float16" else array


def _first_batch(samples: Samples, inputs: Mapping[str, InputSpec]) -> dict[str, Array]:
    import numpy as np

    path = samples.calibration.batches[0]
    with np.load(path) as batch:
        missing = [name for name in inputs if name not in batch]
        if missing:
            raise CalibrationError(f"no arrays for inputs {missing}", where=path.name)
        return {name: batch[name] for name in inputs}


def _require_valid(path: Path) -> None:
    import onnx

    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}", where=path.name) from error
