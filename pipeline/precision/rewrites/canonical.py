"""The canonical form: all rewrites in order, with the fates that they have together."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.graph import correspondence
from pipeline.precision.rewrites.attention import scale_after_scores, transpose_key_once
from pipeline.precision.rewrites.constants import lift
from pipeline.precision.rewrites.dead import remove_dead_code
from pipeline.precision.rewrites.decided_ifs import inline_decided_ifs
from pipeline.precision.rewrites.filled_masks import add_filled_masks
from pipeline.precision.rewrites.fold import fold_constants
from pipeline.precision.rewrites.fourier import multiply_by_sinusoids
from pipeline.precision.rewrites.gemm_bias import split_gemm_bias
from pipeline.precision.rewrites.layer_norm import restore_layer_norms
from pipeline.precision.rewrites.noops import remove_noops
from pipeline.precision.rewrites.softmax_guards import move_guards
from pipeline.precision.rewrites.transposes import merge_transposes
from pipeline.precision.rewrites.types import infer

Rewrite = Callable[[ir.Model], tuple[Fate, ...]]

REWRITES: tuple[Rewrite, ...] = (
    inline_decided_ifs,
    lift,
    infer,
    fold_constants,
    remove_noops,
    remove_dead_code,
    add_filled_masks,
    move_guards,
    transpose_key_once,
    scale_after_scores,
    merge_transposes,
    multiply_by_sinusoids,
    split_gemm_bias,
    restore_layer_norms,
    fold_constants,
    remove_dead_code,
    infer,
)


def canonicalise(model: ir.Model) -> tuple[Fate, ...]:
    """Bring `model` into canonical form, in place; inputs and outputs keep names, types and order.

    Returns:
        What became of each tensor of the main graph that did not keep its name and meaning.

    Raises:
        GraphError: A tensor has no element type and none can be inferred.
    """
    before = correspondence.tensor_names(model)
    fates = correspondence.compose(before, *(rewrite(model) for rewrite in REWRITES))
    lost = correspondence.unaccounted(before, fates, correspondence.tensor_names(model))
    if lost:
        raise ValueError(f"rewrites lost track of tensors {', '.join(lost)}")
    return fates
