"""convert: the mixed graph of one plan, valid on disk, and refused for another model's plan."""

import onnx
import onnx_ir as ir
import pytest

from pipeline.core.artifacts import PrecisionPlan, Provenance
from pipeline.core.errors import PrecisionError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.graph import io
from pipeline.precision.policy import policies
from pipeline.precision.rewrites.types import infer
from pipeline.stages.convert import convert

NET = """
<ir_version: 10, opset_import: ["" : 20]>
net (float[B, 16] x) => (float[B, 16] y) {
    [product] h = MatMul(x, w)
    [act] y = Sigmoid(h)
}
"""


@pytest.fixture
def reference(tmp_path):
    weight = ir.tensor([[float(i + j) for i in range(16)] for j in range(16)], dtype=ir.DataType.FLOAT, name="w")
    model = ir.from_onnx_text(NET, initializers=[weight])
    infer(model)
    folder = tmp_path / "reference"
    folder.mkdir()
    provenance = Provenance(source="test", digest="0" * 64, licence="MIT", real=True)
    return io.describe(model, io.save(model, folder), provenance=provenance)


def plan(reference, format_, model=None):
    decisions = policies.uniform(io.load(reference.path), format_)
    return PrecisionPlan(model=model or io.model_digest(reference), policy="p", low=Format.FP16, decisions=decisions)


def test_the_mixed_model_is_valid_and_has_the_same_interface(reference, tmp_path):
    mixed = convert(reference, None, plan(reference, Format.FP16), out=tmp_path, progress=Silent())
    onnx.checker.check_model(mixed.path, full_check=True)
    assert (mixed.inputs, mixed.outputs, mixed.provenance) == (
        reference.inputs,
        reference.outputs,
        reference.provenance,
    )
    assert io.load(mixed.path).graph.initializers["w"].dtype is ir.DataType.FLOAT16
    assert (tmp_path / io.DATA).stat().st_size == 16 * 16 * 2


def test_an_all_fp32_plan_gives_the_same_files(reference, tmp_path):
    mixed = convert(reference, None, plan(reference, Format.FP32), out=tmp_path, progress=Silent())
    assert io.model_digest(mixed) == io.model_digest(reference)


def test_the_same_plan_gives_the_same_bytes(reference, tmp_path):
    digests = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        mixed = convert(reference, None, plan(reference, Format.FP16), out=tmp_path / name, progress=Silent())
        digests.add(io.model_digest(mixed))
    assert len(digests) == 1


def test_a_plan_for_another_model_is_refused(reference, tmp_path):
    with pytest.raises(PrecisionError) as caught:
        convert(reference, None, plan(reference, Format.FP16, "f" * 64), out=tmp_path, progress=Silent())
    assert str(caught.value) == (
        f"the precision plan was made for model ffffffffffff, and this is model {io.model_digest(reference)[:12]}\n"
        "  hint: run mark on this model"
    )
