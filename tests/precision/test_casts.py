"""Any plan that ONNX can type gives a valid strongly typed graph with the same interface, and no cast too many."""

import collections

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.artifacts import Decision
from pipeline.core.errors import GraphError, PrecisionError
from pipeline.core.formats import Format
from pipeline.precision import casts, semantics
from pipeline.precision.evidence import float_operands, float_results
from pipeline.precision.policy import policies
from pipeline.precision.semantics import WEIGHTED, Movement
from tests.precision.conftest import parse

FP32, FP16, BF16 = Format.FP32, Format.FP16, Format.BF16
TYPES = {FP32: ir.DataType.FLOAT, FP16: ir.DataType.FLOAT16, BF16: ir.DataType.BFLOAT16}

DIAMOND = """
diamond (float[4] x) => (float[4] y) {
    [left] a = Relu(x)
    [right] b = Neg(x)
    [join] y = Add(a, b)
}
"""

LAYER = """
layer (float[B, 4] x, int64[1] rows) => (float[B, 4] y, float[B, 4] z, int64[2] s)
    <float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}, float[4] scale = {1, 1, 1, 1},
     float two = {2}> {
    [product] p = MatMul(x, w)
    [again] q = MatMul(p, w)
    [norm] n = LayerNormalization(q, scale, scale)
    [square] m = Pow(n, two)
    [double] d = Mul(m, two)
    [mean] t = ReduceMean <keepdims = 1> (d)
    [sum] y = Add(t, p)
    [move] z = Identity(n)
    [shape] s = Shape(y)
}
"""

CONSTANTS = """
constants (int64[1] size, float[3] x) => (float[3] y) {
    [fill] c = ConstantOfShape <value = float[1] {0.5}> (size)
    [number] k = Constant <value_float: float = 3.0> ()
    [limit] l = Constant <value = float {4.0}> ()
    [cast] f = Cast <to: int = 1> (size)
    [scaled] e = Mul(c, k)
    [shifted] g = Add(e, f)
    [clipped] h = Clip(x, k, l)
    [out] y = Add(h, g)
}
"""

BRANCH = """
branch (float[2] x, bool c) => (float[2] y) {
    [before] a = Neg(x)
    [if] b = If (c) <
        then_branch = then () => (float[2] t) { [inside] t = Add(a, a) },
        else_branch = else () => (float[2] e) { [other] e = Neg(a) }
    >
    [after] y = Mul(b, a)
}
"""

GRAPHS = {"diamond": DIAMOND, "layer": LAYER, "constants": CONSTANTS, "branch": BRANCH}


def decision(node, operands=FP32, result=FP32, accumulator=None):
    return Decision(
        node=node, op="", module="", operands=operands, accumulator=accumulator, result=result, rule="t", reason="t"
    )


@st.composite
def plans(draw, model):
    """A decision a node, each of its formats drawn on its own where ONNX has types for it."""
    lows = draw(st.sampled_from([(FP16,), (BF16,), (FP16, BF16)]))
    decisions = []
    for node in model.graph:
        low = draw(st.sampled_from(lows))
        row = semantics.of(node)
        reads, makes = any(float_operands(node, row)), any(float_results(node, row))
        free = row.movement is not Movement.CONTROL and casts.admits(node, row, 20, low)
        formats = st.sampled_from([FP32, *lows]) if free else st.just(FP32)
        operands = draw(formats) if reads else None
        fixed = row.sums and operands in lows and draw(st.booleans())
        result = draw(st.sampled_from([FP32, *lows]) if free or fixed else formats) if makes else None
        decisions.append(decision(node.name, operands, result, FP32 if fixed else None))
    return decisions


def casts_of(model):
    return [node for node in model.graph if node.name.startswith("cast::")]


def interface(model):
    return [(v.name, v.dtype, v.shape) for v in (*model.graph.inputs, *model.graph.outputs)]


def require_valid(model):
    """Valid for ONNX, and every tensor's stated type is the one that follows from the operators."""
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    stated = {value.name: value.dtype for node in model.graph for value in node.outputs}
    bare = ir.to_proto(model)
    del bare.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(bare, check_type=True, strict_mode=True)
    found = {info.name: info.type.tensor_type.elem_type for info in inferred.graph.value_info}
    assert {name: stated[name] for name in found if name in stated} == {n: t for n, t in found.items() if n in stated}


@pytest.mark.parametrize("name", GRAPHS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_plan_gives_a_valid_graph_with_the_same_interface(name, data):
    model = parse(GRAPHS[name])
    before, names = interface(model), [node.name for node in model.graph]
    casts.apply(model, data.draw(plans(model)))
    require_valid(model)
    assert interface(model) == before
    assert [node.name for node in model.graph if node.name in names] == names


@pytest.mark.parametrize("name", GRAPHS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_results_and_operands_have_the_formats_of_the_plan(name, data):
    model = parse(GRAPHS[name])
    plan = {item.node: item for item in data.draw(plans(model))}
    outputs = {value.name for value in model.graph.outputs}
    casts.apply(model, plan.values())
    values = {value.name: value for node in model.graph for value in node.outputs}
    for node in model.graph:
        item = plan.get(node.name)
        if item is None or item.result is None:
            continue
        for value in node.outputs:
            own = value.name.removesuffix("::raw").removesuffix("::fp16").removesuffix("::bf16")
            stored = values[f"{own}::{item.result}"] if own in outputs and item.result is not FP32 else values[own]
            assert stored.dtype is TYPES[item.result]
        if item.operands is not None and item.accumulator is None and node.op_type not in ("LayerNormalization", "If"):
            held = {value.dtype for value in node.inputs if value is not None and value.dtype in TYPES.values()}
            assert held == {TYPES[item.operands]}


@pytest.mark.parametrize("name", GRAPHS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_casts_are_minimal(name, data):
    model = parse(GRAPHS[name])
    planned = {value.name for node in model.graph for value in node.outputs}
    casts.apply(model, data.draw(plans(model)))
    shared = collections.Counter()
    for cast in casts_of(model):
        source, target = cast.inputs[0], cast.outputs[0]
        assert source.dtype is not target.dtype
        assert not source.is_initializer() or source.dtype is not ir.DataType.FLOAT
        maker = source.producer()
        if maker is not None and maker.name.startswith("cast::"):
            narrows_again = maker.inputs[0].dtype is target.dtype and source.dtype is ir.DataType.FLOAT
            assert not narrows_again, "a widening that is narrowed again"
        readers = [use.node for use in target.uses()]
        assert readers or target.is_graph_output() or target.name in planned
        own = len(readers) == 1 and readers[0].op_type in WEIGHTED and target.dtype is ir.DataType.FLOAT
        if not own:
            shared[source.name, target.dtype] += 1
    assert set(shared.values()) <= {1}
    assert all(value.uses() for value in model.graph.initializers.values())


@pytest.mark.parametrize("name", GRAPHS)
def test_an_all_fp32_plan_changes_nothing(name):
    model, same = parse(GRAPHS[name]), parse(GRAPHS[name])
    assert casts.apply(model, policies.uniform(model, FP32)) == ()
    assert ir.to_proto(model).SerializeToString() == ir.to_proto(same).SerializeToString()


def test_weights_are_rounded_once_and_stored_in_the_format_that_reads_them():
    model = parse(
        "g (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1.0001, 2, 3, 70000}> { [m] y = MatMul(x, w) }"
    )
    casts.apply(model, [decision("m", FP16, FP16, FP32)])
    (weight,) = model.graph.initializers.values()
    expected = np.float32([[1.0001, 2], [3, 70000]])
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(weight.const_value.numpy(), expected.astype(np.float16))
    assert [(cast.name, cast.inputs[0].name) for cast in casts_of(model)] == [
        ("cast::x::fp16", "x"),
        ("cast::x::fp32::m", "x::fp16"),
        ("cast::w::fp32::m", "w"),
        ("cast::y::fp16", "y::raw"),
        ("cast::y", "y::fp16"),
    ]


def test_a_weight_that_is_read_in_two_formats_is_stored_in_both():
    model = parse("g (float[2] x) => (float[2] y) <float[2] w = {1, 2}> { [a] t = Add(x, w) [b] y = Mul(t, w) }")
    casts.apply(model, [decision("a", FP16, FP16), decision("b")])
    assert {name: value.dtype for name, value in model.graph.initializers.items()} == {
        "w": ir.DataType.FLOAT,
        "w::fp16": ir.DataType.FLOAT16,
    }


def test_products_do_not_share_a_widening_cast():
    model = parse("""
    g (float[1, 2] x) => (float[1, 2] y) <float[2, 2] v = {1, 2, 3, 4}, float[2, 2] w = {1, 2, 3, 4}> {
        [h] h = Relu(x) [a] p = MatMul(h, v) [b] q = MatMul(h, w) [c] y = Add(p, q)
    }
    """)
    casts.apply(model, [decision("h", FP16, FP16), *(decision(n, FP16, FP16, FP32) for n in "ab"), decision("c")])
    widened = {use.node.name: use.node.outputs[0].name for use in model.graph.node("h").outputs[0].uses()}
    assert widened == {"cast::h::fp32::a": "h::fp32::a", "cast::h::fp32::b": "h::fp32::b"}


def test_casts_know_the_module_that_they_serve():
    model = parse(DIAMOND)
    for node in model.graph:
        node.metadata_props["pipeline.module"] = f"net.{node.name}"
    casts.apply(model, [decision("left", FP16, FP16), decision("right"), decision("join")])
    assert {cast.name: cast.metadata_props["pipeline.module"] for cast in casts_of(model)} == {
        "cast::x::fp16": "net.left",
        "cast::a::fp32": "net.left",
    }


def test_a_value_that_a_subgraph_reads_reaches_it_in_fp32():
    model = parse(BRANCH)
    low = [decision(name, FP16, FP16) for name in ("before", "after")]
    casts.apply(model, [*low, decision("if", None, FP32)])
    branch = model.graph.node("if").attributes["then_branch"].as_graph()
    assert [value.name for value in branch.node("inside").inputs] == ["a::fp32", "a::fp32"]
    require_valid(model)


def test_a_plan_for_another_graph_is_refused():
    model = parse(DIAMOND)
    with pytest.raises(PrecisionError) as caught:
        casts.apply(model, [decision("left"), decision("join")])
    assert str(caught.value) == (
        "1 nodes have no decision, right among them\n"
        "  hint: the precision plan was made for another graph: run mark on this one"
    )
    with pytest.raises(PrecisionError, match="1 decisions name no node, other among them"):
        casts.apply(model, [decision(name) for name in ("left", "right", "join", "other")])


def test_a_format_that_onnx_does_not_type_is_refused():
    model = parse("g (float[1, 1, 4] x) => (float[1, 1, 4] y) { [pool] y = MaxPool <kernel_shape = [1]> (x) }")
    with pytest.raises(PrecisionError) as caught:
        casts.apply(model, [decision("pool", BF16, BF16)])
    assert str(caught.value) == "node pool: MaxPool cannot compute in bf16 at opset 20\n  hint: keep it in fp32"


def test_a_graph_that_is_not_fp32_is_refused():
    model = parse("g (float16[4] x) => (float16[4] y) { [n] y = Neg(x) }")
    with pytest.raises(GraphError) as caught:
        casts.apply(model, [decision("n")])
    assert str(caught.value) == "tensor x: precision is applied to an fp32 graph, and this tensor is not fp32"
