"""A graph whose sums come out as another processor might give them.

AVX2, AVX-512 and AMX sum in different orders. A sum of K products carries a rounding error that walks at random: with
unit roundoff u its standard deviation is at most u sqrt(K/6) of the result (Higham and Mary, A New Approach to
Probabilistic Rounding Error Analysis, SIAM J. Sci. Comput. 41, 2019), and the difference of two orders has twice that
variance. Uniform noise of half-width u sqrt(K) has just that deviation. It is added to each sum in the graph, so
that everything after it, roundings to fp16 included, sees what it would see elsewhere.
"""

from __future__ import annotations

import math
import zlib

import onnx_ir as ir

from pipeline.core.artifacts import Fate
from pipeline.core.formats import Format
from pipeline.precision import semantics
from pipeline.precision.semantics import CONVOLUTIONS, Movement

SUFFIX = "::unshaken"
SEEDS = 1 << 20
"""Seeds are held as fp32 in ONNX: integers up to here, with room for one a repeat, are exact."""

INSIDE = frozenset({Movement.COMPOSITE, Movement.STATEFUL, Movement.CONTROL})
"""Operators that sum within."""


def epsilon(reference: ir.Model) -> float:
    """Half-width of the noise for the longest sum with stored weights in `reference`."""
    longest = max((_summed(node) for node in reference.graph), default=1)
    return Format.FP32.limits.unit_roundoff * math.sqrt(longest)


def shake(model: ir.Model, epsilon: float, *, repeat: int) -> tuple[Fate, ...]:
    """Add noise to every sum of `model`'s main graph, in place.

    Tensors keep their names and hold the noisy values. Two models with the same tensor names get the same noise.

    Args:
        model: An fp32 model.
        epsilon: Half-width of the noise, relative to the mean magnitude of the sum.
        repeat: Another number, other noise.

    Returns:
        The fates of the tensors that hold the values before, which no comparison is to look at.
    """
    values = [value for node in model.graph if _sums(node, model) for value in node.outputs]
    return tuple(fate for value in values if _is_float(value) for fate in _shake(model, value, epsilon, repeat))


def _sums(node: ir.Node, model: ir.Model) -> bool:
    row = semantics.of(node, model.functions.keys())
    return row.sums or row.movement in INSIDE


def _is_float(value: ir.Value) -> bool:
    return bool(value.name) and value.dtype is ir.DataType.FLOAT


def _shake(model: ir.Model, value: ir.Value, epsilon: float, repeat: int) -> tuple[Fate, ...]:
    """Let `value` be what comes before the noise, and a new one of its name what comes after."""
    name, producer = str(value.name), value.producer()
    assert producer is not None  # it is the output of a node
    noisy = ir.Value(name=name, type=ir.TensorType(ir.DataType.FLOAT), shape=value.shape)
    ir.convenience.replace_all_uses_with(value, noisy, replace_graph_outputs=True)
    value.name = f"{name}{SUFFIX}"
    random = ir.node(
        "RandomUniformLike",
        [value],
        {"dtype": int(ir.DataType.FLOAT), "low": -epsilon, "high": epsilon, "seed": _seed(name, repeat)},
    )
    size = ir.node("Abs", [value])
    scale = ir.node("ReduceMean", size.outputs, {"keepdims": 0})
    noise = ir.node("Mul", [random.outputs[0], scale.outputs[0]])
    total = ir.node("Add", [value, noise.outputs[0]], outputs=[noisy])
    nodes = [random, size, scale, noise, total]
    for part, node in zip(("random", "size", "scale", "noise", "total"), nodes, strict=True):
        node.name = f"{name}::shaken::{part}"
        if node is not total:
            node.outputs[0].name, node.outputs[0].dtype = f"{node.name}::out", ir.DataType.FLOAT
    model.graph.insert_after(producer, nodes)
    reason = "the value before noise was added"
    hidden = [value, *(node.outputs[0] for node in nodes[:-1])]
    return tuple(Fate(tensor=str(item.name), now=None, reason=reason) for item in hidden)


def _seed(name: str, repeat: int) -> float:
    return float(zlib.crc32(name.encode()) % SEEDS + repeat * SEEDS)


def _summed(node: ir.Node) -> int:
    """How many products the largest sum of `node` with a stored weight has; 1 where it has none."""
    weight = node.inputs[1] if len(node.inputs) > 1 else None
    if weight is None or not weight.is_initializer() or weight.shape is None:
        return 1
    sizes = [dim for dim in weight.shape if isinstance(dim, int)]
    if node.op_type in CONVOLUTIONS:
        return math.prod(sizes) // sizes[1 if node.op_type == "ConvTranspose" else 0]
    if node.op_type == "Gemm":
        return sizes[1 if node.attributes.get_int("transB", 0) else 0]
    return sizes[-2] if node.op_type == "MatMul" and len(sizes) > 1 else 1
