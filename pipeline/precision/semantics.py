"""What each ONNX operator does in a low format: one table, read by marking, conversion, emulation and costing.

It covers the inference operators of the default domain, opset 17 to 22. An operator that is not here is an error that
names it, never a guess.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

import onnx_ir as ir

from pipeline.core.errors import GraphError


class Movement(StrEnum):
    """How an operator's float results follow from its float operands.

    Attributes:
        EXACT: Every result element is an operand element (or its sign flipped, or a comparison): never rounds.
        ROUNDED: Computed in fp32 on the rounded operands, then rounded once.
        COMPOSITE: fp32 inside, with the roundings named in `OpSemantics.inner`, then rounded.
        STATEFUL: A recurrence: rounded at every step.
        CONTROL: Holds subgraphs, or values that are not tensors: kept whole in fp32.
        INTEGER: No float arithmetic: shapes, indices, booleans. Float operands are taken in any format, as they are.
    """

    EXACT = "exact"
    ROUNDED = "rounded"
    COMPOSITE = "composite"
    STATEFUL = "stateful"
    CONTROL = "control"
    INTEGER = "integer"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpSemantics:
    """One row of the table.

    Attributes:
        op: Operator type.
        domain: Its domain; "" is ONNX's own.
        movement: How results follow from operands.
        sums: Whether it sums many products or elements, so that its accumulator has a format of its own.
        fp32_operands: Positions of operands that stay fp32 even where the node is low.
        index_operands: Positions of operands that are never float: shapes, indices, axes, conditions.
        fp32_results: Positions of results that are fp32 whatever the node's format.
        inner: Names of the values that are rounded inside, in order.
    """

    op: str
    domain: str = ""
    movement: Movement
    sums: bool = False
    fp32_operands: tuple[int, ...] = ()
    index_operands: tuple[int, ...] = ()
    fp32_results: tuple[int, ...] = ()
    inner: tuple[str, ...] = ()


WEIGHTED = frozenset({"MatMul", "Gemm", "Einsum", "Conv", "ConvTranspose", "DeformConv"})
"""Sums of products: what tensor cores run, with low operands and an accumulator of their own."""

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose", "DeformConv"})
"""Sums whose accumulator TensorRT takes itself: TensorRT-RTX 1.7 reads low operands also between Casts to fp32."""


def of(node: ir.Node, functions: Collection[ir.OperatorIdentifier] = ()) -> OpSemantics:
    """The row of `node`'s operator.

    Args:
        node: The node.
        functions: Identifiers of the model's local functions; a call of one is `CONTROL`.

    Raises:
        GraphError: The operator is not in the table.
    """
    if node.op_identifier() in functions:
        return OpSemantics(op=node.op_type, domain=node.domain, movement=Movement.CONTROL)
    row = TABLE.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if row is None:
        raise _unknown(node)
    if row.op in _SCATTERS and node.attributes.get_string("reduction", "none") in ("add", "mul"):
        return replace(row, movement=Movement.ROUNDED)
    return row


def _unknown(node: ir.Node) -> GraphError:
    op = f"{node.domain}::{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
    if node.domain in ("", "ai.onnx") and node.op_type in _REFUSED:
        what, hint = _REFUSED[node.op_type]
        return GraphError(f"operator {op} {what}", where=f"node {node.name}", hint=hint)
    return GraphError(
        f"operator {op} has no precision semantics",
        where=f"node {node.name}",
        hint="express it in standard ONNX operators, or add its row to pipeline/precision/semantics.py",
    )


def _table() -> dict[str, OpSemantics]:
    table: dict[str, OpSemantics] = {}
    sums = frozenset(_SUMS.split())
    for movement, ops in _MOVEMENTS.items():
        for op in ops.split():
            if op in table:
                raise ValueError(f"operator {op} stands twice in the table")
            table[op] = OpSemantics(
                op=op,
                movement=movement,
                sums=op in sums,
                fp32_operands=_FP32_OPERANDS.get(op, ()),
                index_operands=_INDEX_OPERANDS.get(op, ()),
                fp32_results=_FP32_RESULTS.get(op, ()),
                inner=_INNER.get(op, ()),
            )
    return table


_MOVEMENTS = {
    Movement.EXACT: """
        Compress Concat Constant ConstantOfShape DepthToSpace Dropout Expand Flatten Gather GatherElements GatherND
        Identity OneHot Pad Reshape ReverseSequence ScatterElements ScatterND Slice SpaceToDepth Split Squeeze Tile
        Transpose Trilu Unsqueeze Where CenterCropPad EyeLike MaxUnpool Unique Hardmax
        Abs Clip GlobalMaxPool Max MaxPool Min Neg ReduceMax ReduceMin Relu Sign TopK ThresholdedRelu
        Ceil Floor Round
        ArgMax ArgMin Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual NonMaxSuppression NonZero
    """,
    Movement.ROUNDED: """
        Add Sub Mul Div Mod Pow Sqrt Reciprocal Exp Log Erf Sum Mean Cast CastLike Range
        Acos Acosh Asin Asinh Atan Atanh Cos Cosh Sin Sinh Tan Tanh
        Celu Elu Gelu HardSigmoid HardSwish LeakyRelu Mish PRelu Selu Shrink Sigmoid Softplus Softsign
        MatMul Gemm Einsum Conv ConvTranspose DeformConv Col2Im Det
        AveragePool GlobalAveragePool GlobalLpPool LpPool MaxRoiPool RoiAlign
        ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean ReduceProd ReduceSum ReduceSumSquare CumSum
        Resize Upsample GridSample AffineGrid DFT STFT BlackmanWindow HammingWindow HannWindow MelWeightMatrix
    """,
    Movement.COMPOSITE: """
        Softmax LogSoftmax LayerNormalization GroupNormalization InstanceNormalization BatchNormalization
        LpNormalization MeanVarianceNormalization LRN
    """,
    Movement.STATEFUL: "GRU LSTM RNN",
    Movement.CONTROL: """
        If Loop Scan SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap
        ConcatFromSequence SplitToSequence Optional OptionalGetElement OptionalHasElement
    """,
    Movement.INTEGER: """
        And Or Xor Not BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Shape Size
    """,
}

_SUMS = """
    MatMul Gemm Einsum Conv ConvTranspose DeformConv AveragePool Col2Im GlobalAveragePool GlobalLpPool LpPool
    ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMean ReduceSum ReduceSumSquare CumSum DFT STFT
"""

_SCATTERS = frozenset({"ScatterElements", "ScatterND"})

_FP32_OPERANDS = {
    # ONNX types these apart from the data, so that they need not be rounded with it.
    "BatchNormalization": (3, 4),  # mean and variance; before opset 15 scale and bias have the type of the data
    "Resize": (2,),  # scales: tensor(float) only
    "Upsample": (1,),
}

_FP32_RESULTS = {
    "LayerNormalization": (1, 2),  # mean and inverse deviation have the type of stash_type
}

_INDEX_OPERANDS = {
    "AffineGrid": (1,),
    "CenterCropPad": (1,),
    "Col2Im": (1, 2),
    "Compress": (1,),
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "DFT": (1, 2),
    "Dropout": (2,),
    "EyeLike": (0,),
    "Expand": (1,),
    "GRU": (4,),
    "Gather": (1,),
    "GatherElements": (1,),
    "GatherND": (1,),
    "If": (0,),
    "LSTM": (4,),
    "Loop": (0, 1),
    "MaxUnpool": (1, 2),
    "NonMaxSuppression": (2,),
    "OneHot": (0, 1),
    "Pad": (1, 3),
    "RNN": (4,),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceLogSum": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceSum": (1,),
    "ReduceSumSquare": (1,),
    "Reshape": (1,),
    "Resize": (3,),
    "ReverseSequence": (1,),
    "RoiAlign": (2,),
    "STFT": (1, 3),
    "ScatterElements": (1,),
    "ScatterND": (1,),
    "SequenceAt": (1,),
    "SequenceErase": (1,),
    "SequenceInsert": (2,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "SplitToSequence": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Trilu": (1,),
    "Unsqueeze": (1,),
    "Where": (0,),
}

_INNER = {
    # Observed: TensorRT-RTX 1.7's fp16 LayerNorm kernel keeps statistics in fp32 and rounds before scale and bias.
    "LayerNormalization": ("normalised",),
    "GroupNormalization": ("normalised",),
    "InstanceNormalization": ("normalised",),
}

_QUANTIZED = (
    "computes on quantised integers, which have no fp32 reference here",
    "give the pipeline the model as it was before quantisation",
)
_RANDOM = ("draws random numbers, so that two runs cannot be compared", "export the model in evaluation mode")
_TRAINING = ("belongs to training", "export the model in evaluation mode, without its loss")
_TEXT = ("works on strings, which TensorRT does not", "leave tokenisation out of the exported graph")

_REFUSED_OPS = {
    _QUANTIZED: """
        QuantizeLinear DequantizeLinear DynamicQuantizeLinear QLinearConv QLinearMatMul ConvInteger MatMulInteger
    """,
    _RANDOM: "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike",
    _TRAINING: "NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss",
    _TEXT: "ImageDecoder RegexFullMatch StringConcat StringNormalizer StringSplit TfIdfVectorizer",
}

_REFUSED = {op: refusal for refusal, ops in _REFUSED_OPS.items() for op in ops.split()}

TABLE = _table()
