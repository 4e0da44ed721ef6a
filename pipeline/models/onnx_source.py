"""Graphs that arrive as ONNX: brought to the spec's opset, inputs and outputs, typed, and in fp32."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, TopologicalSortPass
from onnxscript import version_converter

from pipeline.core.errors import ExportError, GraphError
from pipeline.core.formats import Format
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.graph import axes as names
from pipeline.graph import infer, io, modules, typed
from pipeline.models import lift

QUANTISED = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger")
LEAST_OPSET = 7
"""Oldest opset that ONNX's version converter reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A graph that is ready to be the fp32 reference.

    Attributes:
        model: The graph.
        dtypes: NumPy names of the types of the inputs when the model arrived.
        given: Format that each float node computed in when the model arrived; empty where all was fp32.
    """

    model: ir.Model
    dtypes: dict[str, str]
    given: dict[str, Format] = field(default_factory=dict)


def load(
    path: Path, *, opset: int, inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange], outputs: Sequence[str]
) -> Arrived:
    """Read and prepare an ONNX file.

    Args:
        path: The file; external data must lie beside it.
        opset: Opset to convert to.
        inputs: The spec's inputs.
        axes: The spec's axes.
        outputs: Outputs to keep, in order; all of them where empty.

    Raises:
        GraphError: The file is damaged, quantised, cannot be converted, or leaves a tensor untyped.
        ExportError: Its inputs or outputs are not those of the spec, or an axis is fixed that the spec calls dynamic.
    """
    model = io.load(path)
    _refuse_quantised(model, path)
    model = InlinePass()(model).model
    dtypes = {str(value.name): _dtype(value) for value in model.graph.inputs}
    _set_inputs(model, inputs, axes)
    _set_outputs(model, outputs)
    model = _at_opset(model, opset, path)
    _name_nodes(model)
    _strip(model)
    infer.infer(model)
    given = lift.to_fp32(model)
    if given:
        infer.infer(model)
    typed.require_typed(model)
    TopologicalSortPass()(model)
    return Arrived(model=model, dtypes=dtypes, given=given)


def _refuse_quantised(model: ir.Model, path: Path) -> None:
    for node in model.graph.all_nodes():
        if node.op_type in QUANTISED or node.op_type.startswith("QLinear"):
            raise GraphError(
                f"the model is quantised: node {node.name or '(unnamed)'} is {node.op_type}",
                where=path.name,
                hint="give the model from before quantisation: fp16 is decided from fp32",
            )


def _set_inputs(model: ir.Model, inputs: Mapping[str, InputSpec], axes: Mapping[str, AxisRange]) -> None:
    """Drop inputs that are initializers (ONNX before 1.3), and give the others the spec's shapes."""
    wanted = [value for value in model.graph.inputs if value.name not in model.graph.initializers]
    by_name = {str(value.name): value for value in wanted}
    if set(by_name) != set(inputs):
        raise ExportError(
            f"the model's inputs are {sorted(by_name)}, the spec's are {sorted(inputs)}",
            where="inputs",
            hint="name the inputs in engine.toml as the model does",
        )
    renamed: dict[str, str] = {}
    for name, spec in inputs.items():
        renamed |= _set_input(by_name[name], name, spec, axes)
    model.graph.inputs.clear()
    model.graph.inputs.extend(by_name[name] for name in inputs)
    names.rename(model, renamed)


def _set_input(value: ir.Value, name: str, spec: InputSpec, axes: Mapping[str, AxisRange]) -> dict[str, str]:
    """Set the spec's shape; the axes' names before, and the spec's names for them."""
    dtype = _dtype(value)
    if dtype != spec.dtype and (spec.dtype, dtype) not in {("float32", "float16"), ("float32", "bfloat16")}:
        raise ExportError(f"the model takes {dtype}, the spec says {spec.dtype}", where=f"inputs.{name}.dtype")
    if value.shape is not None and len(value.shape) != len(spec.axes):
        raise ExportError(
            f"the model's input has {len(value.shape)} dimensions, the spec's {len(spec.axes)}",
            where=f"inputs.{name}.axes",
        )
    for position, axis in enumerate(spec.axes):
        _require_fits(value, position, axis, name, axes)
    before = [None] * len(spec.axes) if value.shape is None else [_name(dim) for dim in value.shape]
    value.shape = ir.Shape([_size(axis, axes) for axis in spec.axes])
    after = [_name(dim) for dim in value.shape]
    return {old: new for old, new in zip(before, after, strict=True) if old is not None and new is not None}


def _name(dim: int | ir.SymbolicDim) -> str | None:
    return None if isinstance(dim, int) else dim.value


def _dtype(value: ir.Value) -> str:
    return "untyped" if value.dtype is None else io.NUMPY_NAMES.get(value.dtype, value.dtype.name.lower())


def _require_fits(value: ir.Value, position: int, axis: str | int, name: str, axes: Mapping[str, AxisRange]) -> None:
    dim = None if value.shape is None else value.shape[position]
    if not isinstance(dim, int):
        return
    low, high = (axis, axis) if isinstance(axis, int) else (axes[axis].min, axes[axis].max)
    if not low == dim == high:
        says = axis if isinstance(axis, int) else f"'{axis}' ({low} to {high})"
        raise ExportError(
            f"dimension {position} is baked in: the model takes {dim}, the spec says {says}",
            where=f"inputs.{name}.axes",
            hint=f"give {dim} as the size, or export the model again with a dynamic axis",
        )


def _size(axis: str | int, axes: Mapping[str, AxisRange]) -> str | int:
    if isinstance(axis, int):
        return axis
    return axis if axes[axis].min < axes[axis].max else axes[axis].min


def _set_outputs(model: ir.Model, outputs: Sequence[str]) -> None:
    by_name = {str(value.name): value for value in model.graph.outputs}
    if missing := [name for name in outputs if name not in by_name]:
        raise ExportError(f"the model has no outputs {missing}; it has {sorted(by_name)}", where="model.outputs")
    if outputs:
        model.graph.outputs.clear()
        model.graph.outputs.extend(by_name[name] for name in outputs)


def _at_opset(model: ir.Model, opset: int, path: Path) -> ir.Model:
    found = io.opset(model)
    if not LEAST_OPSET <= found <= opset:
        raise GraphError(
            f"the model has opset {found}, which cannot be converted to {opset}",
            where=path.name,
            hint=f"set model.opset = {found}" if found <= 22 else "export the model again with opset 22 or lower",
        )
    if found < opset:
        _convert(model, opset)
    if io.opset(model) != opset:
        raise GraphError(
            f"ONNX's version converter cannot bring opset {found} to {opset}",
            where=path.name,
            hint="export the model again with opset 17 to 22",
        )
    return model


def _convert(model: ir.Model, opset: int) -> None:
    log = logging.getLogger("onnxscript.version_converter")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        version_converter.convert_version(model, opset, fallback=True)
    finally:
        log.setLevel(level)


def _name_nodes(model: ir.Model) -> None:
    """Give every node a name of its own; torch's older exporter wrote the module path into it."""
    taken: set[str] = set()
    for number, node in enumerate(model.graph.all_nodes()):
        name = node.name or f"{node.op_type}_{number}"
        while name in taken:
            name = f"{name}_{number}"
        taken.add(name)
        node.name = name
        if name.startswith("/") and (path := name.strip("/").rpartition("/")[0]):
            node.metadata_props[modules.MODULE] = path.replace("/", ".")


def _strip(model: ir.Model) -> None:
    """Remove doc strings and metadata, which hold stack traces and paths; module paths stay."""
    model.doc_string = None
    model.metadata_props.clear()
    for graph in model.graphs():
        graph.doc_string = None
        graph.metadata_props.clear()
        for node in graph:
            node.doc_string = None
            for key in [key for key in node.metadata_props if key not in (modules.MODULE, modules.CLASS)]:
                del node.metadata_props[key]
        for value in [*graph.inputs, *graph.initializers.values(), *(out for node in graph for out in node.outputs)]:
            value.doc_string = None
            value.metadata_props.clear()
