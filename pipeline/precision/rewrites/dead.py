"""Nodes and initializers that no graph output depends on are removed."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass

from pipeline.core.artifacts import Fate
from pipeline.graph.correspondence import tensor_names

REASON = "no graph output depends on it"


def remove_dead_code(model: ir.Model) -> tuple[Fate, ...]:
    """Remove what no graph output depends on, in place. Graph inputs stay, also where nobody reads them."""
    before = tensor_names(model)
    RemoveUnusedNodesPass()(model)
    gone = before - tensor_names(model)
    return tuple(Fate(tensor=name, now=None, reason=REASON) for name in sorted(gone))
