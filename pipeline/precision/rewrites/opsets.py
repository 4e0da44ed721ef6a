"""Older operator sets are raised to the one that has LayerNormalization."""

from __future__ import annotations

import onnx_ir as ir

from pipeline.core.artifacts import Fate

OLDEST = 13
"""From here on no operator of the default domain changes its meaning up to `WANTED`, but for those below."""

WANTED = 17
"""The first operator set with LayerNormalization, and the first that this pipeline exports."""

CHANGED = frozenset({"RoiAlign", "BatchNormalization"})
"""Operators whose defaults or outputs changed between the two (ONNX changelog: RoiAlign-16, BatchNormalization-14)."""


def raise_opset(model: ir.Model) -> tuple[Fate, ...]:
    """Raise operator set 13 to 16 to 17 in place, where every operator in the model means the same in both.

    A BatchNormalization with one output (inference) does. Models that are older stay as they are.
    """
    opset = model.opset_imports.get("", 0)
    if OLDEST <= opset < WANTED and not any(map(_changed, model.graph.all_nodes())):
        model.opset_imports[""] = WANTED
        model.ir_version = max(model.ir_version or 0, 8)
    return ()


def _changed(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx") or node.op_type not in CHANGED:
        return False
    return node.op_type != "BatchNormalization" or len(node.outputs) > 1
