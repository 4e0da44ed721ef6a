import numpy as np
import onnx
import onnx_ir as ir
import pytest

from pipeline.backends.onnxruntime import Session
from pipeline.core.errors import GraphError
from pipeline.graph import io, modules, names

MODEL = """
<ir_version: 10, opset_import: ["" : 20], producer_name: "secret-tool">
secret_model (float[batch, 4] t1, bool flag) => (float[batch, 4] secret_output)
<float[4] secret_weight = {1, 2, 3, 4}> {
    [secret_scale] secret_scaled = Mul(t1, secret_weight)
    [secret_if] secret_chosen = If (flag) <
        then_branch = secret_then () => (float[batch, 4] secret_a) { [secret_relu] secret_a = Relu(secret_scaled) },
        else_branch = secret_else () => (float[batch, 4] secret_b) { [secret_neg] secret_b = Neg(secret_scaled) }
    >
    [secret_out] secret_output = Add(secret_chosen, secret_weight)
}
"""


@pytest.fixture
def model():
    made = ir.from_proto(onnx.parser.parse_model(MODEL))
    for node in made.graph:
        node.metadata_props[modules.MODULE] = "secretpath.block.0"
        node.metadata_props[modules.CLASS] = "SecretBlock"
        node.metadata_props["pkg.torch"] = "/home/secret/model.py"
        node.doc_string = "secret"
    return made


def test_nothing_but_the_interface_keeps_its_name(model, tmp_path):
    found = names.strip(model)
    content = io.save(model, tmp_path).read_bytes()
    assert content.lower().count(b"secret") == content.count(b"secret_output") > 0
    assert found.nodes["secret_scale"] == "n1"
    assert [modules.module_of(node) for node in model.graph] == ["m1.m2.0"] * 3


def test_the_map_tells_every_name_once(model):
    before = {str(node.name) for node in ir.traversal.RecursiveGraphIterator(model.graph)}
    found = names.strip(model)
    assert found.nodes.keys() == before
    assert set(found.nodes.values()) == {str(node.name) for node in ir.traversal.RecursiveGraphIterator(model.graph)}
    assert len(set(found.tensors.values())) == len(found.tensors)
    assert "t1" not in found.tensors.values(), "an ordinal that is the name of an input is left out"
    assert set(found.modules) == {"secretpath", "block", "SecretBlock"}


def test_it_computes_the_same(model, tmp_path):
    feeds = [{"t1": np.float32([[-1, 2, -3, 4]]), "flag": np.array(flag)} for flag in (True, False)]
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    expected = [Session(io.save(model, before))(item) for item in feeds]
    names.strip(model)
    session = Session(io.save(model, after))
    for item, known in zip(feeds, expected, strict=True):
        np.testing.assert_array_equal(session(item)["secret_output"], known["secret_output"])


def test_functions_cannot_be_stripped(model):
    inner = ir.Function("secret", "Own", graph=ir.Graph((), (), nodes=(), opset_imports={"": 20}), attributes=())
    model.functions[inner.identifier()] = inner
    with pytest.raises(GraphError, match="names of a model with ONNX functions cannot be stripped"):
        names.strip(model)
