"""Attention as torch exports `scaled_dot_product_attention` with a boolean mask, as ONNX text for a graph."""

from __future__ import annotations

CONSTANTS = """float zero = {0.0}, float lowest = {-3.4028234663852886e38}, float s = {0.5},
 int64[1] i0 = {0}, int64[1] i1 = {-1}, int64[1] i2 = {-2}, int64[1] end = {9223372036854775807}"""
"""Initializers that `core` reads."""


def core(values: str) -> str:
    """Nodes from `qt` and `kh` (queries and keys by head), `values` and `mask` to `ot`, the context by position."""
    return f"""    [shape] shape = Shape (kh)
    [last] last = Slice (shape, i1, end)
    [rows] rows = Slice (shape, i2, i1)
    [outer] outer = Slice (shape, i0, i2)
    [flat] flat = Concat <axis = 0> (i1, rows, last)
    [turned] turned = Concat <axis = 0> (outer, last, rows)
    [k3] k3 = Reshape (kh, flat)
    [k3t] k3t = Transpose <perm = [0, 2, 1]> (k3)
    [kt] kt = Reshape (k3t, turned)
    [qs] qs = Mul (qt, s)
    [ks] ks = Mul (kt, s)
    [m] m = Where (mask, zero, lowest)
    [scores] a = MatMul (qs, ks)
    [masked] c = Add (a, m)
    [softmax] p = Softmax (c)
    [is_nan] nan = IsNaN (p)
    [guard] g = Where (nan, zero, p)
    [context] o = MatMul (g, {values})
    [context_last] ot = Transpose <perm = [0, 2, 1, 3]> (o)"""
