"""mark: one decision a node, only for the model and the format that the ranges were observed for."""

import dataclasses

import onnx_ir as ir
import pytest

from pipeline.core.artifacts import (
    ActivationRanges,
    FusionBaseline,
    Kernel,
    PlanText,
    Provenance,
    SourceTree,
    TensorRange,
)
from pipeline.core.errors import CalibrationError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import PrecisionSpec
from pipeline.graph import io
from pipeline.precision.rewrites.types import infer
from pipeline.stages.mark import mark

ATTENTION = """
<ir_version: 10, opset_import: ["" : 20]>
attention (float[1, 2, S, 16] q, float[1, 2, 16, S] k, float[1, 2, S, 16] v) => (float[1, 2, S, 16] y) {
    [scores] s = MatMul(q, k)
    [softmax] p = Softmax <axis = -1> (s)
    [values] y = MatMul(p, v)
}
"""
FUSED = Kernel(kind="function", name="_gemm_mha_v2", nodes=("scores", "softmax", "values"))
BASELINE = FusionBaseline(attentions=1, target="8.9", plan=PlanText(version="1", targets=("8.9",), kernels=(FUSED,)))


class Heard(Silent):
    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture
def reference(tmp_path):
    model = ir.from_onnx_text(ATTENTION)
    infer(model)
    provenance = Provenance(source="test", digest="0" * 64, licence="MIT", real=True)
    return io.describe(model, io.save(model, tmp_path), provenance=provenance)


def ranges(reference, **magnitudes):
    tensors = {
        name: TensorRange(low=-1.0, high=magnitudes.get(name, 1.0), smallest=0.1, elements=9) for name in "qkvspy"
    }
    return ActivationRanges(model=io.model_digest(reference), samples=1, low=Format.FP16, tensors=tensors)


def run(reference, seen, tmp_path, spec=None, progress=None):
    tree = SourceTree(folder=tmp_path, digest="0" * 64)
    return mark(reference, seen, BASELINE, spec or PrecisionSpec(), tree, out=tmp_path, progress=progress or Silent())


def test_one_decision_a_node_in_graph_order(reference, tmp_path):
    plan = run(reference, ranges(reference), tmp_path)
    assert [item.node for item in plan.decisions] == ["scores", "softmax", "values"]
    assert (plan.model, plan.policy, plan.low) == (io.model_digest(reference), "sensitive", Format.FP16)


def test_ranges_of_another_model_are_refused(reference, tmp_path):
    other = dataclasses.replace(ranges(reference), model="f" * 64)
    with pytest.raises(CalibrationError) as caught:
        run(reference, other, tmp_path)
    assert str(caught.value) == (
        f"ranges were observed on model ffffffffffff, and this is model {io.model_digest(reference)[:12]}\n"
        "  hint: run calibrate on this model"
    )


def test_ranges_for_another_format_are_refused(reference, tmp_path):
    with pytest.raises(CalibrationError) as caught:
        run(reference, ranges(reference), tmp_path, PrecisionSpec(low=Format.BF16))
    assert str(caught.value) == (
        "ranges count what overflows in fp16, and the low format is bf16\n  hint: run calibrate for bf16"
    )


def test_an_attention_that_can_no_longer_be_fused_is_named(reference, tmp_path):
    heard = Heard()
    run(reference, ranges(reference, s=30000.0), tmp_path, progress=heard)
    assert heard.warnings == [
        "attention softmax will not be fused, because of scores: "
        "s reached 3e+04 in calibration; with a margin of 4 that is beyond fp16's 65504"
    ]


def test_an_attention_that_stays_fused_needs_no_word(reference, tmp_path):
    heard = Heard()
    run(reference, ranges(reference), tmp_path, progress=heard)
    assert heard.warnings == []


def test_a_range_that_still_grew_near_the_limit_is_warned_of_once(reference, tmp_path):
    seen = ranges(reference, y=9000.0)
    grown = {name: dataclasses.replace(seen.tensors[name], history=(8000.0, 9000.0)) for name in "qkvy"}
    seen = dataclasses.replace(seen, samples=16, tensors={**seen.tensors, **grown})
    heard = Heard()
    plan = run(reference, seen, tmp_path, progress=heard)
    assert heard.warnings == [
        "16 calibration samples may be too few: the ranges of y still grew in the last half "
        "(y to 9e+03, the limit is 65504); raise calibration.samples"
    ]
    assert [(item.tensor, item.magnitudes) for item in plan.growing] == [("y", (8000.0, 9000.0))]


def test_a_range_format_that_a_target_lacks_is_not_used_and_said(reference, tmp_path):
    heard = Heard()
    plan = mark(
        reference,
        ranges(reference, y=30000.0),
        BASELINE,
        PrecisionSpec(range_format=Format.BF16),
        SourceTree(folder=tmp_path, digest="0" * 64),
        targets=("7.5", "8.9"),
        out=tmp_path,
        progress=heard,
    )
    assert heard.warnings[0] == (
        "precision.range_format is bf16, which target 7.5 does not have: "
        "what does not fit the range of the low format stays fp32 for all targets"
    )
    assert {item.result for item in plan.decisions} <= {Format.FP16, Format.FP32}
