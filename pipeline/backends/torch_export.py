"""PyTorch modules to ONNX through `torch.export`, with named dynamic axes and without traces of this machine."""

from __future__ import annotations

import ast
import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import onnx_ir as ir
import torch

from pipeline.core.errors import ExportError
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.graph import axes, modules

SCOPES = "pkg.torch.onnx.name_scopes"
CLASSES = "pkg.torch.onnx.class_hierarchy"
OUTSIDE = "_empty_nn_module_stack_from_metadata_hook"
"""What torch calls the module of what it traced outside any, such as sizes."""

LOGGERS = ("torch", "torch.onnx", "torch.export", "torch.fx", "onnxscript", "onnx_ir")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is exported, and how.

    Attributes:
        module: Takes one tensor a graph input by position and returns a tuple of graph outputs.
        example: Arrays by graph input, in order. Sizes of dynamic axes are at least 2 and differ from one another,
            because tracing takes a size of 1, and equal sizes, for facts.
        inputs: The spec's inputs, in order.
        axes: The spec's axes.
        outputs: Names of the graph outputs, in order.
        opset: ONNX opset.
        prefix: First part of all module paths, which is stripped.
    """

    module: torch.nn.Module
    example: Mapping[str, npt.NDArray[Any]]
    inputs: Mapping[str, InputSpec]
    axes: Mapping[str, AxisRange]
    outputs: tuple[str, ...]
    opset: int
    prefix: str


def export(request: Request) -> ir.Model:
    """Trace and translate a module.

    Returns:
        The model; its weights are the module's own tensors. Nodes carry module path and class (`graph.modules`) and no
        other metadata.

    Raises:
        ExportError: The module cannot be traced, or an axis that the spec calls dynamic is fixed by the module.
    """
    program = _run(request)
    model: ir.Model = program.model
    _name_axes(model, request)
    for node in model.graph.all_nodes():
        _keep_module_only(node, request.prefix)
    _strip(model)
    _rename_weights(model, request.prefix)
    return model


def call(module: torch.nn.Module, feeds: Mapping[str, npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
    """Run the module as it is.

    Args:
        module: As in `Request`.
        feeds: Arrays by graph input, in the module's order.

    Returns:
        One array a graph output.
    """
    with torch.inference_mode():
        results = module(*(torch.from_numpy(array.copy()) for array in feeds.values()))
    return [result.numpy() for result in results]


def dynamic_axes(axes: Mapping[str, AxisRange]) -> dict[str, AxisRange]:
    """The axes that can take more than one size."""
    return {name: sizes for name, sizes in axes.items() if sizes.min < sizes.max}


def _run(request: Request) -> Any:
    tensors = tuple(torch.from_numpy(array.copy()) for array in request.example.values())
    try:
        with _quiet():
            traced = torch.export.export(
                request.module, tensors, dynamic_shapes=(_dynamic_shapes(request),), strict=False
            )
            return torch.onnx.export(
                traced,
                dynamo=True,
                opset_version=request.opset,
                input_names=list(request.inputs),
                output_names=list(request.outputs),
                verbose=False,
            )
    except ExportError:
        raise
    except Exception as error:  # torch raises many types
        raise _explained(error, request) from error


def _dynamic_shapes(request: Request) -> tuple[dict[int, Any], ...]:
    dims = {
        name: torch.export.Dim(name, min=sizes.min, max=sizes.max) for name, sizes in dynamic_axes(request.axes).items()
    }
    return tuple(
        {position: dims[axis] for position, axis in enumerate(spec.axes) if isinstance(axis, str) and axis in dims}
        for spec in request.inputs.values()
    )


def _explained(error: Exception, request: Request) -> ExportError:
    text = str(error)
    violated = re.search(r"Constraints violated \(([^)]*)\)", text)
    if violated is not None:
        axis = violated[1].split(",")[0].strip()
        holder = next((name for name, spec in request.inputs.items() if axis in spec.axes), axis)
        return baked(holder, axis, _constraint(text, axis))
    untranslated = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", _causes(error))
    if untranslated is not None:
        return ExportError(
            f"torch cannot export the module: ONNX has nothing for torch's operator {untranslated[1]}",
            hint="take another implementation of it; in a model of transformers with experts, call "
            'set_experts_implementation("batched_mm")',
        )
    first = next(iter(text.strip().splitlines()), type(error).__name__)
    place = re.findall(r'File "([^"]+)", line (\d+), in (\w+)', text)
    at = f" at {place[-1][0]}:{place[-1][1]}" if place else ""
    return ExportError(
        f"torch cannot export the module: {first}{at}",
        hint="control flow that depends on values must go, or move out of the module",
    )


def _causes(error: BaseException | None) -> str:
    """What the error says, and every error that it was raised from."""
    words = []
    while error is not None:
        words.append(str(error))
        error = error.__cause__
    return "\n".join(words)


def _constraint(text: str, axis: str) -> str:
    """What torch says of the axis, without its names for inputs."""
    fixed = re.search(
        rf"marked {re.escape(axis)} as dynamic but your code specialized it to be a constant \((\d+)\)", text
    )
    if fixed is not None:
        return f"the module fixes it at {fixed[1]}"
    lines = [line.strip(" -") for line in text.splitlines() if re.search(rf"(?<!\w){re.escape(axis)}(?!\w)", line)]
    return re.sub(r" = L\[.*?\.size\(\)\[\d+\]", "", lines[1] if len(lines) > 1 else lines[0])


def baked(name: str, axis: str, reason: str) -> ExportError:
    """The error for an axis that is dynamic in the spec and fixed in the module."""
    return ExportError(
        f"axis '{axis}' of input '{name}' is baked in: {reason}",
        where=f"inputs.{name}.axes",
        hint=f"keep '{axis}' out of Python numbers in the module, or give its size instead of its name",
    )


def _name_axes(model: ir.Model, request: Request) -> None:
    """Give torch's symbols the spec's names, wherever they stand."""
    dynamic = dynamic_axes(request.axes)
    symbols: dict[str, str] = {}
    for value, (name, spec) in zip(model.graph.inputs, request.inputs.items(), strict=True):
        for position, axis in enumerate(spec.axes):
            if axis not in dynamic:
                continue
            dim = value.shape[position] if value.shape is not None else None
            if not isinstance(dim, ir.SymbolicDim) or dim.value is None:
                raise baked(name, str(axis), f"the graph has {dim} there")
            symbols[dim.value] = str(axis)
    axes.rename(model, symbols)


def _keep_module_only(node: ir.Node, prefix: str) -> None:
    path, kind = _module(node, prefix)
    node.metadata_props.clear()
    node.doc_string = None
    if path:
        node.metadata_props[modules.MODULE] = path
    if kind:
        node.metadata_props[modules.CLASS] = kind


def _module(node: ir.Node, prefix: str) -> tuple[str, str]:
    """Module path without the prefix, and class; the last entry of torch's lists is the operation itself."""
    scopes = ast.literal_eval(node.metadata_props.get(SCOPES, "[]"))
    classes = ast.literal_eval(node.metadata_props.get(CLASSES, "[]"))
    if len(scopes) < 2 or len(scopes) != len(classes):
        return "", ""
    path = str(scopes[-2])
    if path in ("", OUTSIDE):
        return "", ""
    if path == prefix:
        return "", str(classes[-2]).rpartition(".")[2]
    return path.removeprefix(f"{prefix}."), str(classes[-2]).rpartition(".")[2]


def _strip(model: ir.Model) -> None:
    model.metadata_props.clear()
    model.doc_string = None
    for graph in model.graphs():
        graph.metadata_props.clear()
        graph.doc_string = None
        for value in [*graph.inputs, *graph.initializers.values(), *(out for node in graph for out in node.outputs)]:
            value.metadata_props.clear()
            value.doc_string = None


def _rename_weights(model: ir.Model, prefix: str) -> None:
    for value in list(model.graph.initializers.values()):
        name = str(value.name)
        short = name.removeprefix(f"{prefix}.")
        if short != name and short not in model.graph.initializers:
            value.name = short


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence torch's log, warnings and prints; its errors still raise."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    sink = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
