"""A plan that TensorRT-RTX builds of nodes in bf16 holds them in bf16; a target without bf16 is named."""

import numpy as np
import pytest

from pipeline.core.artifacts import ActivationRanges, FusionBaseline, PrecisionPlan, Provenance, TensorRange
from pipeline.core.errors import BuildError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import BuildSpec, PrecisionSpec
from pipeline.graph import io
from pipeline.precision import casts, evidence
from pipeline.precision.bounds import Given
from pipeline.precision.policy import policies, policy_file
from pipeline.precision.targets import possible
from pipeline.stages.build import build
from tests import encoder

REAL = Provenance(source="test", digest="0" * 64, licence="CC0-1.0", real=True)
LARGE = TensorRange(low=-9e5, high=9e5, smallest=1e-3, elements=100)
SMALL = TensorRange(low=-1.0, high=1.0, smallest=1e-3, elements=100)


def plan_for(spec, *large, folder):
    """Decisions for the encoder where these tensors were large in calibration, and its mixed graph, saved."""
    model = encoder.fp32()
    names = [str(v.name) for v in (*model.graph.inputs, *(v for node in model.graph for v in node.outputs))]
    seen = {name: LARGE if name in large else SMALL for name in names}
    ranges = ActivationRanges(model="m", samples=1, low=spec.low, tensors=seen)
    found = evidence.gather(model, ranges, spec, Given.of(encoder.INPUTS, encoder.AXES))
    decisions = policies.decide(found, policy_file.settings(spec, folder), {})
    casts.apply(model, decisions)
    (folder / "model").mkdir()
    mixed = io.describe(model, io.save(model, folder / "model"), provenance=REAL)
    return PrecisionPlan(model="m", policy="sensitive", low=spec.low, decisions=decisions), mixed


def built(plan, mixed, folder, *targets):
    out = folder / "out"
    out.mkdir()
    baseline = FusionBaseline(attentions=1, reason="not asked for")
    spec = BuildSpec(targets=targets, workspace_mib=64)
    return build(mixed, plan, baseline, encoder.INPUTS, encoder.AXES, spec, out=out, progress=Silent()).plans


def kernels_of(plan, node):
    return [kernel for kernel in plan.text.kernels if node in kernel.nodes]


def test_a_product_beyond_fp16_is_a_bf16_gemm_that_sums_in_fp32(tmp_path):
    plan, mixed = plan_for(PrecisionSpec(range_format=Format.BF16), "o", "r", folder=tmp_path)
    decisions = {item.node: item for item in plan.decisions}
    assert (decisions["output"].operands, decisions["output"].result) == (Format.BF16, Format.BF16)
    assert decisions["output"].accumulator is Format.FP32
    (made,) = built(plan, mixed, tmp_path, "8.6", "8.9")
    found = {check.name: (check.passed, check.problems) for check in made.checks}
    assert found == dict.fromkeys(("parsed", "built", "fusion"), (True, ()))
    assert {kernel.operands for kernel in kernels_of(made, "output") if kernel.kind != "function"} == {("bf16",)}
    assert {kernel.operands for kernel in kernels_of(made, "query") if kernel.kind != "function"} == {("half",)}
    assert made.text.fused_attentions == 1


def test_a_whole_model_in_bf16_keeps_its_fused_attention(tmp_path):
    plan, mixed = plan_for(PrecisionSpec(low=Format.BF16), "o", "r", folder=tmp_path)
    (made,) = built(plan, mixed, tmp_path, "8.9")
    assert all(check.passed for check in made.checks), [check.problems for check in made.checks]
    assert made.text.fused_attentions == 1
    assert {kernel.operands for kernel in kernels_of(made, "query") if kernel.kind != "function"} == {("bf16",)}


def test_a_target_without_bf16_is_named_and_not_dropped(tmp_path):
    plan, mixed = plan_for(PrecisionSpec(range_format=Format.BF16), "o", "r", folder=tmp_path)
    with pytest.raises(BuildError) as error:
        built(plan, mixed, tmp_path, "7.5", "8.9")
    assert error.value.what.startswith("no plan for target 7.5; 8.9 can be built\n")
    assert error.value.hint == (
        "7.5 has neither bf16 nor an fp32 MatMul in TensorRT-RTX: remove it from build.targets, "
        "or use a policy without them"
    )


def test_range_alone_asks_for_bf16_only_where_every_target_has_it():
    spec = PrecisionSpec(range_format=Format.BF16, bf16=("mine",))
    assert possible(spec, ("8.9", "gpu")) == (spec, None)
    narrowed, why = possible(spec, ("7.5", "8.9"))
    assert (narrowed.range_format, narrowed.bf16) == (Format.FP32, ("mine",))
    assert why == (
        "precision.range_format is bf16, which target 7.5 does not have: "
        "what does not fit the range of the low format stays fp32 for all targets"
    )


def test_the_emulation_of_a_bf16_node_rounds_as_bf16(tmp_path):
    from pipeline.backends.onnxruntime import Session
    from pipeline.precision.emulation.emulate import emulate

    _, mixed = plan_for(PrecisionSpec(range_format=Format.BF16), "o", "r", folder=tmp_path)
    model = emulate(io.load(mixed.path))
    model.graph.outputs[:] = [value for node in model.graph for value in node.outputs if value.name in ("o", "q")]
    outputs = Session(model, as_written=True)(
        {"x": encoder.random((1, 8, encoder.WIDTH)), "mask": np.zeros((1, 1, 1, 8), np.float32)}
    )
    bits = {name: np.ascontiguousarray(array).view(np.uint32) for name, array in outputs.items()}
    assert not np.any(bits["o"] & 0xFFFF), "bf16 keeps the upper half of an fp32 number"
    assert np.any(bits["q"] & 0xFFFF)
