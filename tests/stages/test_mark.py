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
