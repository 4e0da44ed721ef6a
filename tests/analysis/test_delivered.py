import dataclasses

import pytest

from pipeline.analysis.delivery import built, delivered
from pipeline.backends import plan_text
from pipeline.backends.tensorrt import process, profiles
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import BuildRequest, NetworkLayer, NetworkTensor
from pipeline.core.artifacts import Kernel, PlanText
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.graph import io
from tests import encoder


@pytest.fixture(scope="module")
def delivery(tmp_path_factory):
    """The mixed encoder, its network as TensorRT-RTX read it, and the text of its plan."""
    return deliver(tmp_path_factory.mktemp("mixed"), encoder.mixed())


def deliver(folder, model):
    request = BuildRequest(
        onnx=io.save(model, folder),
        plan=folder / "a.plan",
        flavour=Flavour.RTX,
        targets=("8.9",),
        workspace_mib=64,
        tf32=False,
        profiles=profiles.of_inputs(encoder.INPUTS, encoder.AXES),
    )
    answer = process.build(request, folder / "log", Silent())
    assert answer.built, answer.errors
    return io.load(request.onnx), answer.layers, plan_text.read(request.plan)


def changed(name, **fields):
    plan = encoder.plan()
    decisions = [dataclasses.replace(d, **fields) if d.node == name else d for d in plan.decisions]
    return dataclasses.replace(plan, decisions=tuple(decisions))


def with_kernels(text, *kernels):
    return dataclasses.replace(text, kernels=kernels)


def test_a_graph_that_carries_out_its_plan_passes_both(delivery):
    model, layers, text = delivery
    parsed, made = delivered.parsed(encoder.plan(), model, layers), built.built(encoder.plan(), model, text)
    assert (parsed.passed, parsed.problems) == (True, ())
    assert parsed.summary.startswith("19 planned nodes compared with ")
    assert (made.passed, made.problems) == (True, ())
    assert "1 of 1 products planned with fp32 sums show accumulation_type 2 (meaning inferred)" in made.summary


def test_what_fused_kernels_hide_is_listed(delivery):
    model, _, text = delivery
    hidden = built.built(encoder.plan(), model, text).unobservable
    assert (
        "1 fused attention in _gemm_mha_v2 (reads half, writes half): accumulators and softmax not observable" in hidden
    )
    assert any(line.startswith("1 LayerNormalization planned fp32 (reads ") for line in hidden)
    between = "other float nodes: their kernels show the types of inputs and outputs, not those between fused nodes"
    assert any(line.endswith(between) for line in hidden)


def test_a_cast_changed_behind_the_plans_back_fails(tmp_path):
    text = encoder.MIXED.replace('"sm::fp32" = Cast<to = 1>', '"sm::fp32" = Cast<to = 10>')
    model, layers, made = deliver(tmp_path, encoder.mixed(text))
    check = delivered.parsed(encoder.plan(), model, layers)
    assert not check.passed
    assert check.problems == (
        "softmax (Softmax): p::raw is half, planned float",
        "softmax (Softmax): reads sm::fp32 as half, planned float",
    )
    assert built.built(encoder.plan(), model, made).passed, (
        "the fused kernel shows no softmax: only `parsed` can see it"
    )


def test_an_accumulator_that_was_not_asked_for_fails_both(tmp_path):
    text = encoder.MIXED.replace('"c::fp32" = Cast<to = 1>', '"c::fp32" = Cast<to = 10>')
    text = text.replace('"wo::fp32" = Cast<to = 1>', '"wo::fp32" = Cast<to = 10>')
    model, layers, made = deliver(tmp_path, encoder.mixed(text))
    assert delivered.parsed(encoder.plan(), model, layers).problems[:2] == (
        "output (MatMul): o::raw is half, planned float",
        "output (MatMul): reads c::fp32 as half, planned float",
    )
    (problem,) = built.built(encoder.plan(), model, made).problems
    assert problem.startswith("output (MatMul): ")
    assert problem.endswith(" shows accumulation_type 0, planned fp32 accumulation")


def test_operands_that_were_never_rounded_fail(delivery):
    model, layers, _ = delivery
    stored = NetworkTensor(name="c", dtype="float")
    bypassed = tuple(
        dataclasses.replace(layer, inputs=(stored,)) if layer.name == "cast::c::fp32" else layer for layer in layers
    )
    assert delivered.parsed(encoder.plan(), model, bypassed).problems == (
        "output (MatMul): operand c::fp32 is not held in half before it is widened",
    )


def test_a_node_without_a_layer_is_a_problem(delivery):
    model, layers, _ = delivery
    without = tuple(layer for layer in layers if "residual" not in layer.nodes)
    assert delivered.parsed(encoder.plan(), model, without).problems == (
        "residual (Add): no layer in TensorRT's network was made for it",
    )


def test_a_decision_without_a_node_is_a_problem(delivery):
    model, layers, _ = delivery
    plan = changed("residual", node="stranger")
    assert delivered.parsed(plan, model, layers).problems == ("stranger: the mixed graph has no such node",)


def test_a_layer_of_another_type_is_a_problem(delivery):
    model, layers, _ = delivery
    plan = changed("residual", operands=Format.FP32, result=Format.FP32)
    assert delivered.parsed(plan, model, layers).problems == (
        "residual (Add): r is half, planned float",
        "residual (Add): reads o as half, planned float",
        "residual (Add): reads x::fp16 as half, planned float",
    )


def test_a_constant_that_the_parser_evaluates_needs_no_layer():
    model = encoder.parse(
        f"""{encoder.HEAD}
        g (float[4] x) => (float[4] y) {{
            [two] c = Constant<value = float {{2.0}}>()
            [twice] y = Mul(x, c)
        }}"""
    )
    decision = encoder.plan().decisions[0]
    plan = dataclasses.replace(
        encoder.plan(),
        decisions=tuple(
            dataclasses.replace(decision, node=node, op=op, operands=Format.FP32, result=Format.FP32)
            for node, op in (("two", "Constant"), ("twice", "Mul"))
        ),
    )
    x, c, y = (NetworkTensor(name=name, dtype="float") for name in ("x", "c_output", "y"))
    layers = (
        NetworkLayer(name="c", kind="constant", nodes=(), inputs=(), outputs=(c,)),
        NetworkLayer(name="twice", kind="elementwise", nodes=("twice",), inputs=(x, c), outputs=(y,)),
    )
    check = delivered.parsed(plan, model, layers)
    assert check.passed
    assert check.summary == "1 planned nodes compared with 2 layers, 0 problems"
    assert check.unobservable == ("1 constant nodes: the parser evaluates them, so they have no layer",)


def test_a_computation_in_no_kernel_is_a_problem(delivery):
    model, _, text = delivery
    kernels = [
        dataclasses.replace(kernel, nodes=tuple(node for node in kernel.nodes if node != "norm"))
        for kernel in text.kernels
    ]
    assert built.built(encoder.plan(), model, with_kernels(text, *kernels)).problems == (
        "norm (LayerNormalization): in no kernel of the plan, and nothing explains it",
    )


def test_a_product_with_other_operands_is_a_problem(delivery):
    model, _, text = delivery
    wide = [dataclasses.replace(k, operands=("float",)) if "query" in k.nodes else k for k in text.kernels]
    problems = built.built(encoder.plan(), model, with_kernels(text, *wide)).problems
    name = next(kernel.name for kernel in text.kernels if "query" in kernel.nodes and kernel.kind != "function")
    assert f"query (MatMul): {name} multiplies float, planned half" in problems


def test_a_convolutions_accumulator_is_said_to_be_hidden():
    model = encoder.parse(
        f"""{encoder.HEAD}
        g (float16[1, 1, 4, 4] x, float16[1, 1, 3, 3] w) => (float16[1, 1, 2, 2] y) {{
            [conv] y = Conv(x, w)
        }}"""
    )
    decision = dataclasses.replace(
        encoder.plan().decisions[0], node="conv", op="Conv", operands=Format.FP16, accumulator=Format.FP32
    )
    plan = dataclasses.replace(encoder.plan(), decisions=(decision,))
    kernel = Kernel(kind="corrltn", name="conv", nodes=("conv",), operands=("half",), results=("half",))
    check = built.built(plan, model, PlanText(version="1.7.1.116", targets=("8.9",), kernels=(kernel,)))
    assert check.passed
    assert check.unobservable == ("1 Conv in a corrltn kernel (reads half, writes half): accumulator not observable",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "plans of TensorRT proper hold no readable text"),
        (PlanText(version=None, targets=(), kernels=()), "the plan has an unknown version"),
    ],
)
def test_a_plan_that_cannot_be_read_claims_nothing(delivery, text, reason):
    check = built.built(encoder.plan(), delivery[0], text)
    assert (check.passed, check.summary) == (True, f"not observed: {reason}")
    assert check.unobservable == (f"what the builder made of every planned node: {reason}",)
