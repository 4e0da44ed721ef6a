"""What the cost model says of fusion, held to plans that TensorRT-RTX builds."""

import dataclasses

import pytest

from pipeline.backends import plan_text
from pipeline.backends.tensorrt import process, profiles
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import BuildRequest
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec
from pipeline.graph import io
from pipeline.precision import casts
from pipeline.precision.costing.cost import CostModel
from pipeline.precision.policy import policies
from tests import encoder

FULL = {"operands": Format.FP32, "result": Format.FP32}
SIZES = {name: axis.opt for name, axis in encoder.AXES.items()}
RESIDUAL = f"""{encoder.HEAD}
residual (float[1, 64, 32, 32] image) => (float[1, 64, 32, 32] y) {{
    [first] a = Conv <pads = [1, 1, 1, 1]> (image, w1)
    [relu] r = Relu(a)
    [second] b = Conv <pads = [1, 1, 1, 1]> (r, w2)
    [skip] s = Add(b, r)
    [third] y = Conv <pads = [1, 1, 1, 1]> (s, w3)
}}
"""
IMAGE = {"image": InputSpec(dtype="float32", axes=(1, 64, 32, 32))}


def residual():
    return encoder.parse(RESIDUAL, {name: encoder.random((64, 64, 3, 3)) for name in ("w1", "w2", "w3")})


def cost_and_plan(make, inputs, folder, **changes):
    """The count of the all-fp16 plan with changes by node, and the kernels that are built of it."""
    model = make()
    decisions = [
        dataclasses.replace(item, **changes.get(item.node, {})) for item in policies.uniform(model, Format.FP16)
    ]
    cost = CostModel(model, sizes=SIZES).of(decisions)
    casts.apply(model, decisions)
    request = BuildRequest(
        onnx=io.save(model, folder),
        plan=folder / "x.plan",
        flavour=Flavour.RTX,
        targets=("8.9",),
        workspace_mib=256,
        tf32=False,
        profiles=profiles.of_inputs(inputs, encoder.AXES),
    )
    answer = process.build(request, folder / "log", Silent())
    assert answer.built, answer.errors
    return cost, plan_text.read(request.plan)


@pytest.mark.parametrize(
    "changes",
    [
        {"softmax": FULL},
        {"scores": {"accumulator": Format.FP32}},
        {"context": FULL},
        {"softmax": FULL, "context": FULL},
        dict.fromkeys(("value", "value_heads", "value_first", "context"), FULL),
    ],
    ids=["fp32 softmax", "fp32 sums of scores", "widened operands", "fp32 probabilities", "fp32 values"],
)
def test_an_attention_is_lost_where_the_plan_has_no_kernel_for_it(changes, tmp_path):
    cost, text = cost_and_plan(encoder.fp32, encoder.INPUTS, tmp_path, **changes)
    assert cost.attentions - cost.attentions_lost == text.fused_attentions


@pytest.mark.parametrize("changes", [{"relu": FULL}, {"skip": FULL}], ids=["in the epilogue", "at its other operand"])
def test_a_cast_is_a_kernel_where_it_is_one_in_the_plan(changes, tmp_path):
    cost, text = cost_and_plan(residual, IMAGE, tmp_path, **changes)
    assert cost.cast_kernels == text.cast_kernels
