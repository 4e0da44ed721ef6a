"""Every tensor gets its element type, and its shape where ONNX can infer it."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from pipeline.core.artifacts import Fate
from pipeline.graph import typed
from pipeline.graph.correspondence import values


def infer(model: ir.Model) -> tuple[Fate, ...]:
    """Complete types and shapes in place; sizes and axis names that the model states itself are kept.

    Raises:
        GraphError: A tensor has no element type and none can be inferred.
    """
    stated = {value: value.shape for value in values(model.graph)}
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            value.dtype, value.shape = value.const_value.dtype, ir.Shape(value.const_value.shape.numpy())
    ShapeInferencePass(check_type=False, strict_mode=False, data_prop=True)(model)
    for value, shape in stated.items():
        value.shape = _merged(shape, value.shape)
    typed.require_typed(model)
    return ()


def _merged(stated: ir.Shape | None, inferred: ir.Shape | None) -> ir.Shape | None:
    if stated is None or inferred is None or len(stated) != len(inferred):
        return stated if inferred is None else _without_invented_names(inferred)
    known = _without_invented_names(inferred)
    return ir.Shape([old if _is_stated(old) else new for old, new in zip(stated, known, strict=True)])


def _is_stated(dim: int | ir.SymbolicDim) -> bool:
    return isinstance(dim, int) or dim.value is not None


def _without_invented_names(shape: ir.Shape) -> ir.Shape:
    """ONNX names each unknown size `unk__N`; such a name says nothing and would not be the same the next time."""
    return ir.Shape([None if not isinstance(dim, int) and str(dim.value).startswith("unk__") else dim for dim in shape])
