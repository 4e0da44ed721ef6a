"""What an operator makes of operands that are held times powers of two.

A rule gives the exponents of the results and what has to be changed so that they are right: constants multiplied by
powers of two, and the epsilon of a normalisation. Every rule is exact in floating point as long as nothing under- or
overflows: a power of two passes through products, sums of equally scaled terms, maxima, roots and quotients unrounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from pipeline.precision import semantics
from pipeline.precision.decomposed_norms import constant_scalar
from pipeline.precision.rescale.exponents import NONE, Exponents
from pipeline.precision.semantics import Movement


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What becomes of one node.

    Attributes:
        results: Exponents of each output.
        constants: By operand position, the exponents that a constant is multiplied by, one after the other.
        epsilon: The attribute epsilon is multiplied by 2^epsilon.
    """

    results: tuple[Exponents, ...]
    constants: dict[int, tuple[Exponents, ...]] = field(default_factory=dict)
    epsilon: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is wanted of a node besides keeping its results right.

    Attributes:
        seed: Its result is to be multiplied by this, through its constants.
        passes: Whether a linear layer hands the exponent of its operand on instead of taking it into its weights.
        fits: Whether its first result, unscaled, lies within the low format's range.
    """

    seed: Exponents = NONE
    passes: bool = False
    fits: bool = True


Rule = Callable[[ir.Node, Sequence[Exponents], Asked], Step | None]

LINEAR = frozenset({"MatMul", "Gemm", "Conv", "ConvTranspose"})


def step(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    """What becomes of `node` when its operands are scaled by `given`; None where that cannot be made right."""
    rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if rule is None:
        return None
    if not asked.seed.zero and node.op_type not in SEEDED:
        return None
    return rule(node, given, asked)


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is an fp32 initializer that no feed can replace."""
    return (
        value is not None
        and value.is_initializer()
        and not value.is_graph_input()
        and value.const_value is not None
        and value.dtype is ir.DataType.FLOAT
    )


def is_linear(node: ir.Node) -> bool:
    """Whether `node` is a product with stored weights on the right."""
    named = node.op_type in LINEAR and node.domain in ("", "ai.onnx")
    return named and is_constant(node.inputs[1]) and node.inputs[1] is not None and len(node.inputs[1].shape or ()) > 1


def channel_axis(node: ir.Node) -> int:
    """Axis of a linear layer's output channels in its result, counted from the end."""
    return -1 if node.op_type in ("MatMul", "Gemm") else 1 - _rank(node.inputs[1])


def _rank(value: ir.Value | None) -> int:
    if value is None or value.shape is None:
        return 0
    return len(value.shape)


def _edits(*exponents: Exponents) -> tuple[Exponents, ...]:
    return tuple(item for item in exponents if not item.zero)


def _keep(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    """Results are scaled as the first operand, whichever axis."""
    if any(not item.zero for item in given[1:]):
        return None
    return Step(results=(given[0],) * len(node.outputs))


def _keep_uniform(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    return _keep(node, given, asked) if given[0].uniform else None


def _pool(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    """Each channel by itself: the second axis is the channels'."""
    if not given[0].uniform and given[0].axis != 1 - _rank(node.inputs[0]):
        return None
    return Step(results=(given[0], *[NONE] * (len(node.outputs) - 1)))


def _cast(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    same = node.inputs[0] is not None and node.inputs[0].dtype == node.outputs[0].dtype
    return _keep(node, given, asked) if same else None


def _transpose(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    exponents, rank = given[0], _rank(node.inputs[0])
    if exponents.axis is None:
        return Step(results=(exponents,))
    if not rank:
        return None
    order = node.attributes.get_ints("perm") or list(range(rank))[::-1]
    return Step(results=(exponents.at(list(order).index(exponents.axis + rank) - rank),))


def _join(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    """Sums, maxima and concatenations: all operands have to be scaled alike, and constants can be."""
    skipped = semantics.of(node).index_operands
    places = [i for i, value in enumerate(node.inputs) if value is not None and i not in skipped]
    scales = {given[i] for i in places if not is_constant(node.inputs[i])}
    if len(scales) != 1:
        return None
    scale = next(iter(scales))
    if not scale.uniform and node.op_type == "Concat":
        return None
    constants = {i: _edits(scale) for i in places if is_constant(node.inputs[i])}
    return Step(results=(scale,), constants={i: found for i, found in constants.items() if found})


def _mul(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    for position, operand in enumerate(node.inputs):
        if is_constant(operand):
            scale = given[1 - position]
            if asked.seed.zero and asked.fits and not scale.zero:
                return Step(results=(NONE,), constants={position: (scale.times(-1),)})
            result = scale.plus(asked.seed)
            edits = {position: _edits(asked.seed)} if not asked.seed.zero else {}
            return None if result is None else Step(results=(result,), constants=edits)
    result = given[0].plus(given[1])
    return None if result is None else Step(results=(result,))


def _div(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    if is_constant(node.inputs[1]) and asked.fits and not given[0].zero:
        return Step(results=(NONE,), constants={1: (given[0],)})
    result = given[0].plus(given[1].times(-1))
    return None if result is None else Step(results=(result,))


def _pow(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    return Step(results=(given[0].times(2),)) if constant_scalar(node.inputs[1]) == 2.0 else None


def _sqrt(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    half = given[0].halved()
    return None if half is None else Step(results=(half,))


def _reciprocal(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    return Step(results=(given[0].times(-1),))


def _norm(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    """Scale-invariant when epsilon, which is added to the variance, is multiplied by the square."""
    scale = given[0]
    if not scale.uniform or any(not item.zero for item in given[1:]) or any(v.uses() for v in node.outputs[1:]):
        return None
    affine = range(1, len(node.inputs)) if not asked.seed.zero else ()
    if not all(is_constant(node.inputs[i]) for i in affine) or asked.seed.axis not in (None, -1):
        return None
    constants = {i: _edits(asked.seed) for i in affine}
    results = (asked.seed, *[NONE] * (len(node.outputs) - 1))
    return Step(results=results, constants=constants, epsilon=2 * scale.values[0])


def _unit(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    return Step(results=(NONE,)) if given[0].uniform else None


def _matmul(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    if not is_linear(node):
        inner = given[0].uniform and given[1].axis in (None, -1) and asked.seed.zero
        result = given[0].plus(given[1]) if inner else None
        return None if result is None else Step(results=(result,))
    return _linear(given[0], asked, rows=-2, columns=-1, axis=-1, bias=None)


def _gemm(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if not is_linear(node) or node.attributes.get_int("transA", 0) == 1 or not (bias is None or is_constant(bias)):
        return None
    rows, columns = (-1, -2) if node.attributes.get_int("transB", 0) == 1 else (-2, -1)
    return _linear(given[0], asked, rows=rows, columns=columns, axis=-1, bias=None if bias is None else 2)


def _conv(node: ir.Node, given: Sequence[Exponents], asked: Asked) -> Step | None:
    bias, rank = node.inputs[2] if len(node.inputs) > 2 else None, _rank(node.inputs[1])
    if not is_linear(node) or not (bias is None or is_constant(bias)):
        return None
    inner, outer = (1 - rank, -rank) if node.op_type == "Conv" else (-rank, 1 - rank)
    grouped = node.attributes.get_int("group", 1) != 1
    if grouped and not (given[0].uniform and (asked.seed.uniform or node.op_type == "Conv")):
        return None
    if asked.seed.axis not in (None, 1 - rank) or given[0].axis not in (None, 1 - rank):
        return None
    return _linear(given[0].at(-1), asked, rows=inner, columns=outer, axis=1 - rank, bias=None if bias is None else 2)


def _linear(operand: Exponents, asked: Asked, *, rows: int, columns: int, axis: int, bias: int | None) -> Step | None:
    """A product with stored weights, which take the operand's exponents back unless the layer passes them on."""
    if operand.axis not in (None, -1) or (asked.passes and not operand.uniform):
        return None
    handed_on = operand if asked.passes else NONE
    result = handed_on.plus(asked.seed)
    if result is None:
        return None
    taken = NONE if asked.passes else operand.times(-1)
    constants = {1: _edits(taken.at(rows), asked.seed.at(columns))}
    if bias is not None:
        constants[bias] = _edits(result.at(-1))
    return Step(results=(result.at(axis),), constants={i: found for i, found in constants.items() if found})


def _moves() -> frozenset[str]:
    """Data movement whose results hold elements of the first operand."""
    moves = """
        DepthToSpace Expand Flatten Gather GatherElements GatherND Reshape Slice SpaceToDepth Split Squeeze Tile
        Unsqueeze
    """
    exact = {op for op, row in semantics.TABLE.items() if row.movement is Movement.EXACT}
    return frozenset(moves.split()) & exact


SEEDED = LINEAR | {"LayerNormalization", "Mul"}
"""Operators whose constants can multiply their result."""

RULES: dict[str, Rule] = {
    **dict.fromkeys(("Abs", "Dropout", "Identity", "LeakyRelu", "Neg", "PRelu", "Relu"), _keep),
    **dict.fromkeys(_moves() | {"ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"}, _keep_uniform),
    **dict.fromkeys(("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"), _pool),
    **dict.fromkeys(("Add", "Concat", "Max", "Min", "Sub", "Sum", "Where"), _join),
    **dict.fromkeys(("GroupNormalization", "InstanceNormalization", "LayerNormalization"), _norm),
    **dict.fromkeys(("Conv", "ConvTranspose"), _conv),
    "Cast": _cast,
    "Div": _div,
    "Gemm": _gemm,
    "LpNormalization": _unit,
    "MatMul": _matmul,
    "Mul": _mul,
    "Pow": _pow,
    "Reciprocal": _reciprocal,
    "Sqrt": _sqrt,
    "Transpose": _transpose,
}
