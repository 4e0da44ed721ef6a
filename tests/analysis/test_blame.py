"""Who breaks a model: on graphs whose fault is planted."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.analysis.causes import blame, magnitudes
from pipeline.analysis.comparison.compare import compare
from pipeline.analysis.verdict.layers import layers
from pipeline.core.artifacts import Cause, Decision, Kind, Layer
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.graph import io
from pipeline.precision import casts
from pipeline.precision.emulation.emulate import emulate

NORM = """
<ir_version: 10, opset_import: ["" : 20]>
norm (float[batch, 4] x) => (float[batch, 4] y)
<float two = {2.0}, float eps = {0.00001}, int64[1] axis = {-1}, float[4] scale = {1, 2, 3, 4}> {
    [before] h = Mul(x, scale)
    [square] squares = Pow(h, two)
    [mean] m = ReduceMean <keepdims = 1> (squares, axis)
    [shift] shifted = Add(m, eps)
    [root] r = Sqrt(shifted)
    [divide] unit = Div(h, r)
    [after] y = Mul(unit, scale)
}
"""
MASKED = """
<ir_version: 10, opset_import: ["" : 20]>
masked (float[batch, 4] x) => (float[batch, 4] y) <float[4] mask = {0, 0, 0, -3.4e38}> {
    [add] scores = Add(x, mask)
    [softmax] p = Softmax <axis = -1> (scores)
    [after] y = Mul(p, x)
}
"""
CENTRED = """
<ir_version: 10, opset_import: ["" : 20]>
centred (float[batch, 4] x) => (float[batch, 4] y) <float big = {1000.0}> {
    [up] a = Add(x, big)
    [down] b = Sub(a, big)
    [after] y = Neg(b)
}
"""
SMALL = """
<ir_version: 10, opset_import: ["" : 20]>
small (float[batch, 4] x) => (float[batch, 4] y) <float tiny = {0.00000002}, float big = {10000.0}> {
    [shrink] a = Mul(x, tiny)
    [grow] b = Mul(a, big)
    [again] y = Mul(b, big)
}
"""
INF_MINUS_INF = """
<ir_version: 10, opset_import: ["" : 20]>
difference (float[batch, 4] x) => (float[batch, 4] y) {
    [double] a = Add(x, x)
    [triple] b = Add(a, x)
    [minus] c = Sub(b, a)
    [after] y = Neg(c)
}
"""
PICKED = """
<ir_version: 10, opset_import: ["" : 20]>
picked (float[batch, 4] x) => (float[batch, 4] y) <float[4] sign = {1, -30, 1, 1}> {
    [scores] s = Neg(x)
    [rank] i = ArgMin <axis = -1> (s)
    [values] v = Mul(x, sign)
    [pick] p = GatherElements <axis = -1> (v, i)
    [last] y = Neg(p)
}
"""
Judge = Callable[..., tuple[tuple[Layer, ...], tuple[Cause, ...]]]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    def run(text: str, x: np.ndarray, kept: tuple[str, ...] = ()) -> tuple[tuple[Layer, ...], tuple[Cause, ...]]:
        parsed = ir.from_onnx_text(text)
        for node in parsed.graph:
            for value in node.outputs:
                value.dtype = ir.DataType.FLOAT if node.name != "rank" else ir.DataType.INT64
                value.shape = ir.Shape(["batch", 4 if node.name not in ("mean", "rank", "pick", "last") else 1])
        path = io.save(parsed, tmp_path)
        reference, mixed = io.load(path), io.load(path)
        casts.apply(mixed, [_decision(node, kept) for node in mixed.graph])
        batch = tmp_path / "batch.npz"
        np.savez(batch, x=x.astype(np.float32))
        found, gaps = compare(reference, emulate(mixed), (), [batch], {}, Silent(), alone=True)
        judged = layers(reference, mixed, {}, found, gaps, 12.0)
        suspected = blame.find(reference, mixed, judged, Format.FP16)
        ranges = magnitudes.of_tensors(reference, suspected.suspects(), Format.FP16, [batch], {}, Silent())
        return blame.told(suspected, ranges)

    return run


def _decision(node: ir.Node, kept: tuple[str, ...]) -> Decision:
    chosen = Format.FP32 if node.name in kept else Format.FP16
    return Decision(
        node=str(node.name), op=node.op_type, module="", operands=chosen, result=chosen, rule="test", reason="test"
    )


LARGE = np.array([[1.0, 2.0, 3.0, 100.0], [0.5, 1.0, 2.0, 3.0]])


def test_the_norm_chain_that_overflows_is_the_one_cause(judge: Judge) -> None:
    found, causes = judge(NORM, LARGE)

    assert [(cause.nodes, cause.kind, cause.part) for cause in causes] == [(("square",), Kind.OVERFLOW, "RMSNorm")]
    assert causes[0].why == ("overflowed: 1 of 8 of its values are beyond 65504, the largest 1.6e+05")
    assert causes[0].mend == (
        "keep square, mean in fp32 (precision.fp32), better the whole RMSNorm; costs 2 more Casts"
    )
    assert causes[0].injected is not None
    assert causes[0].injected.nonfinite == 1
    assert causes[0].spoilt == 5
    assert [layer.bad for layer in found] == [False, True, True, True, True, True, True]


def test_a_whole_chain_that_overflows_is_one_cause(judge: Judge) -> None:
    _, causes = judge(NORM, LARGE * 4)

    assert [cause.nodes for cause in causes] == [("square", "mean", "shift")]
    assert causes[0].mend.startswith("keep square, mean, shift, root in fp32")


def test_what_the_cause_asks_for_mends_it(judge: Judge) -> None:
    found, causes = judge(NORM, LARGE, ("square", "mean", "shift"))

    assert causes == ()
    assert not any(layer.bad for layer in found)
    assert all(layer.why is None for layer in found)


def test_a_mask_that_becomes_infinite_is_no_matter(judge: Judge) -> None:
    _, causes = judge(MASKED, LARGE[1:])

    assert [(cause.nodes, cause.kind) for cause in causes] == [(("add",), Kind.MASK)]


def test_a_mask_comes_after_what_really_breaks(judge: Judge) -> None:
    text = MASKED.replace("[after] y = Mul(p, x)", "[large] l = Mul(x, x)\n[after] y = Mul(p, l)")

    _, causes = judge(text, np.array([[300.0, 1.0, 2.0, 3.0]]))

    assert [(cause.nodes[0], cause.kind) for cause in causes] == [("large", Kind.OVERFLOW), ("add", Kind.MASK)]


def test_a_cancellation_is_told_from_the_rounding_before_it(judge: Judge) -> None:
    found, causes = judge(CENTRED, np.array([[0.1, 0.2, 0.3, 0.4]]))

    assert (causes[0].nodes, causes[0].kind) == (("down",), Kind.CANCELLATION)
    assert causes[0].why.startswith("cancelled: its operands reach 1e+03, its result 0.4, ")
    assert found[2].why == "inherited, its own node adds little; it begins at b (Sub)"
    assert causes[0].mend == "keep up, down in fp32 (precision.fp32); costs 1 more Cast"


def test_what_a_cancellation_asks_for_mends_it(judge: Judge) -> None:
    assert judge(CENTRED, np.array([[0.1, 0.2, 0.3, 0.4]]), ("up", "down"))[1] == ()


def test_what_amplifies_alone_does_not_mend_what_reaches_it(judge: Judge) -> None:
    assert judge(CENTRED, np.array([[0.1, 0.2, 0.3, 0.4]]), ("down",))[1] != ()


def test_other_elements_are_told_from_amplified_errors(judge: Judge) -> None:
    _, causes = judge(PICKED, np.array([[1.0001, 1.0002, -1.0, -2.0]]))

    assert causes[0].why.startswith("took other elements: rank ranks what was rounded before it, ")
    assert causes[0].mend == (
        "keep rank and the scores before it in fp32 (precision.fp32); `trt-pipeline bisect` finds how far back"
    )


def test_underflow_says_its_share(judge: Judge) -> None:
    _, causes = judge(SMALL, np.array([[1.0, 2.0, 3.0, 4.0]]))

    assert (causes[0].nodes, causes[0].kind) == (("shrink",), Kind.UNDERFLOW)
    assert causes[0].why == (
        "lost to underflow: 25.0% of its values round to zero in fp16, 100.0% are zero or subnormal; "
        "the largest is 8e-08"
    )


def test_nan_is_told_from_the_infinities_it_comes_from(judge: Judge) -> None:
    found, causes = judge(INF_MINUS_INF, np.array([[40000.0, 1.0, 2.0, 3.0]]))

    assert causes[0].nodes == ("double", "triple")
    assert found[2].why == "NaN from inf - inf: b holds 1 infinity; it begins at a (Add)"
    assert found[3].why == "inherits NaN from c; it begins at a (Add)"


@pytest.mark.parametrize("position", [0, 5, 11])
def test_what_a_node_adds_is_seen_wherever_it_stands(judge: Judge, position: int) -> None:
    x = np.linspace(0.5, 1.5, 12).reshape(3, 4)
    x.flat[position] = 40000.0

    found, _ = judge(INF_MINUS_INF, x)

    assert [layer.injected.nonfinite for layer in found if layer.injected] == [1, 1, 0, 0]


def test_error_is_injected_where_a_node_rounds_and_nowhere_else(judge: Judge) -> None:
    found, _ = judge(NORM, LARGE / 50, ("square", "mean", "shift", "root"))

    by_node = {layer.node: layer.injected for layer in found}
    assert [node for node, own in by_node.items() if own is not None and own.relative_l2 == 0] == [
        "square",
        "mean",
        "shift",
        "root",
    ]
    assert all(own is not None and own.sqnr_db > 60 for own in by_node.values())
