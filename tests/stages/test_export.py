import json
import logging

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Provenance, Samples, SampleSet, SourceTree, Weights
from pipeline.core.errors import ExportError, GraphError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import AxisRange, InputSpec, ModelSpec, Source, ToleranceSpec, WeightsSource
from pipeline.graph import modules
from pipeline.stages.export import export
from pipeline.stages.seed import seed

MODULES = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(4, 4)

    def forward(self, x, mask):
        return self.inner(x) * mask[..., None]

class Baked(Net):
    def forward(self, x, mask):
        return super().forward(x, mask)[:, : int(x.shape[1])] * float(int(x.shape[1]))

class Branching(Net):
    def forward(self, x, mask):
        return super().forward(x, mask) if x.sum() > 0 else x

class Counting(Net):
    def forward(self, x, mask):
        return super().forward(x, mask), x

class Factoring(Net):
    def forward(self, x, mask):
        return torch.linalg.qr(x).R

def inputs():
    return {"x": torch.zeros(2, 3, 4), "mask": torch.ones(2, 3)}

def net(weights):
    return Net(), inputs()

def baked(weights):
    return Baked(), inputs()

def branching(weights):
    return Branching(), inputs()

def counting(weights):
    return Counting(), inputs()

def factoring(weights):
    return Factoring(), inputs()
"""

TINY = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_attention_heads": 2,
    "num_hidden_layers": 1,
    "intermediate_size": 24,
    "vocab_size": 30,
    "max_position_embeddings": 40,
}

INPUTS = {
    "x": InputSpec(dtype="float32", axes=("batch", "sequence", 4)),
    "mask": InputSpec(dtype="float32", axes=("batch", "sequence"), masks=("sequence",)),
}
TOKENS = {
    "input_ids": InputSpec(dtype="int64", axes=("batch", "sequence")),
    "attention_mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}
AXES = {"batch": AxisRange(min=1, opt=2, max=8), "sequence": AxisRange(min=1, opt=8, max=40)}


@pytest.fixture
def engine(tmp_path):
    folder = tmp_path / "engine"
    folder.mkdir()
    (folder / "model.py").write_text(MODULES)
    (folder / "config.json").write_text(json.dumps(TINY))
    return SourceTree(folder=folder, digest="0")


@pytest.fixture
def samples(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "batch_0000.npz"
    np.savez(
        path,
        x=rng.normal(size=(2, 6, 4)).astype(np.float32),
        mask=np.ones((2, 6), np.float32),
        input_ids=rng.integers(0, 30, (2, 6)),
        attention_mask=np.ones((2, 6), np.int64),
    )
    held = SampleSet(batches=(path,), samples=2, source="test", licence="CC0-1.0")
    return Samples(calibration=held, validation=held)


def given(folder):
    provenance = Provenance(source="local:x", digest="", licence="MIT", real=True)
    return Weights(folder=folder, checkpoint=folder, provenance=provenance)


def run(engine, samples, tmp_path, model, weights=None, inputs=INPUTS):
    out = tmp_path / "out"
    out.mkdir()
    return export(
        model,
        inputs,
        AXES,
        ToleranceSpec(),
        weights or given(tmp_path),
        engine,
        samples,
        out=out,
        progress=Silent(),
    )


def by_callable(name, outputs=("y",)):
    return ModelSpec(
        source=Source.CALLABLE,
        callable=f"model.py:{name}",
        outputs=outputs,
        weights=WeightsSource(licence="MIT"),
    )


def bert(attention):
    return ModelSpec(
        source=Source.TRANSFORMERS,
        architecture="AutoModel",
        config="config.json",
        attention=attention,
        outputs=("last_hidden_state",),
        weights=WeightsSource(licence="MIT"),
    )


def test_a_callable_becomes_a_typed_graph_that_knows_its_modules(engine, samples, tmp_path, capfd):
    level = logging.getLogger("torch.onnx").level
    found = run(engine, samples, tmp_path, by_callable("net"))
    assert [(item.name, item.dtype, item.shape) for item in (*found.inputs, *found.outputs)] == [
        ("x", "float32", ("batch", "sequence", 4)),
        ("mask", "float32", ("batch", "sequence")),
        ("y", "float32", ("batch", "sequence", 4)),
    ]
    graph = ir.load(found.path).graph
    assert {modules.module_of(node) for node in graph} == {"", "inner"}
    assert {"Linear", "Net"} == {modules.class_of(node) for node in graph}
    assert {name for name in graph.initializers if "weight" in name or "bias" in name} <= {"inner.weight", "inner.bias"}
    assert [check.passed for check in found.checks] == [True]
    assert found.opset == 20
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("torch.onnx").level == level


def test_the_file_tells_nothing_of_this_machine(engine, samples, tmp_path):
    content = run(engine, samples, tmp_path, by_callable("net")).path.read_bytes()
    for trace in (str(tmp_path).encode(), b"site-packages", b"stack_trace", b"pkg.torch"):
        assert trace not in content


def test_a_baked_axis_is_named(engine, samples, tmp_path):
    with pytest.raises(ExportError) as caught:
        run(engine, samples, tmp_path, by_callable("baked"))
    assert str(caught.value) == (
        "inputs.x.axes: axis 'sequence' of input 'x' is baked in: the module fixes it at 8\n"
        "  hint: keep 'sequence' out of Python numbers in the module, or give its size instead of its name"
    )


def test_control_flow_on_values_is_an_error_that_names_the_line(engine, samples, tmp_path):
    with pytest.raises(ExportError, match=r"torch cannot export the module: .* at .*model\.py:\d+") as caught:
        run(engine, samples, tmp_path, by_callable("branching"))
    assert caught.value.hint == "control flow that depends on values must go, or move out of the module"


def test_an_operator_that_onnx_lacks_is_named(engine, samples, tmp_path):
    with pytest.raises(ExportError) as caught:
        run(engine, samples, tmp_path, by_callable("factoring"))
    assert str(caught.value) == (
        "torch cannot export the module: ONNX has nothing for torch's operator aten.linalg_qr\n"
        "  hint: take another implementation of it; in a model of transformers with experts, call "
        'set_experts_implementation("batched_mm")'
    )


def test_the_number_of_outputs_must_be_the_specs(engine, samples, tmp_path):
    with pytest.raises(ExportError) as caught:
        run(engine, samples, tmp_path, by_callable("counting"))
    assert str(caught.value) == "model.outputs: the module returns 2 outputs, and model.outputs names 1"


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_seeded_bert_agrees_with_torch_at_every_shape_and_kind_of_padding(engine, samples, tmp_path, attention):
    folder = tmp_path / "seeded"
    folder.mkdir()
    weights = seed(bert(attention), engine, out=folder, progress=Silent())
    assert weights.provenance.source == "seeded:0"
    assert not weights.provenance.real
    found = run(engine, samples, tmp_path, bert(attention), weights, TOKENS)
    assert found.provenance == weights.provenance
    assert "over 5 shapes" in found.checks[0].summary
    assert "padding (full, right, left, none)" in found.checks[0].summary
    paths = {modules.module_of(node) for node in ir.load(found.path).graph}
    assert {path.partition(".")[0] for path in paths} == {"", "embeddings", "encoder"}


OVERFLOWS = """
<ir_version: 10, opset_import: ["" : 17]>
overflows (float16[batch, sequence, 4] x, float16[batch, sequence] mask) => (float16[batch, sequence, 4] y) {
    [big] b = Constant <value = float16 {31571}> ()
    [half] h = Constant <value = float16 {14336}> ()
    [ones] axis = Constant <value_ints = [-1]> ()
    [twice] t = Add(b, b)
    [scaled] s = Mul(t, h)
    [wide] w = Unsqueeze(mask, axis)
    [masked] m = Mul(x, w)
    [out] y = Add(m, s)
}
"""


def by_file(folder, text):
    ir.save(ir.from_onnx_text(text), folder / "model.onnx")
    found = given(folder)
    weights = Weights(folder=folder, checkpoint=folder / "model.onnx", provenance=found.provenance)
    return ModelSpec(source=Source.ONNX, weights=WeightsSource(licence="MIT")), weights


def test_a_half_precision_file_becomes_its_fp32_reference(engine, samples, tmp_path):
    model, weights = by_file(tmp_path, OVERFLOWS)
    found = run(engine, samples, tmp_path, model, weights)
    assert {item.dtype for item in (*found.inputs, *found.outputs)} == {"float32"}
    assert found.given["twice"] is Format.FP16
    assert found.opset == 20
    feeds = {"x": np.zeros((1, 1, 4), np.float32), "mask": np.ones((1, 1), np.float32)}
    assert Session(found.path)(feeds)["y"].tolist() == [[[60000.0] * 4]]


def test_a_damaged_file_is_told_as_such(engine, samples, tmp_path):
    model, weights = by_file(tmp_path, OVERFLOWS)
    weights.checkpoint.write_bytes(b"not ONNX")
    with pytest.raises(GraphError, match="not a readable ONNX model"):
        run(engine, samples, tmp_path, model, weights)
