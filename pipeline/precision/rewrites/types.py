"""Every tensor gets its element type, and its shape where ONNX can infer it."""

from __future__ import annotations

import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.graph import infer as inference
from pipeline.graph import typed


def infer(model: ir.Model) -> tuple[Fate, ...]:
    """Complete types and shapes in place; what the model states itself is kept.

    Raises:
        GraphError: A tensor has no element type and none can be inferred.
    """
    inference.infer(model)
    typed.require_typed(model)
    return ()
