import numpy as np
import onnx_ir as ir
import pytest

from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Provenance
from pipeline.core.errors import GraphError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.graph import correspondence, io, modules
from pipeline.precision.rewrites.canonical import canonicalise as rewrite
from pipeline.stages.canonicalise import canonicalise
from tests import sdpa

REAL = Provenance(source="test", digest="0" * 64, licence="CC0-1.0", real=True)

ENCODER = f"""
<ir_version: 10, opset_import: ["" : 20]>
encoder (float[batch, sequence, 8] x, bool[batch, 1, 1, sequence] mask)
    => (float[batch, sequence, 8] y, float[batch, sequence, 8] copy)
<{sdpa.CONSTANTS},
 float two = {{2.0}}, float eps = {{1e-5}},
 int64[4] heads = {{0, 0, 2, 4}}, int64[3] merged = {{0, 0, 8}}, int64[1] last_axis = {{-1}}>
{{
    [factor] half = Constant <value_float = 0.5> ()
    [query] q = Mul (x, half)
    [split] q4 = Reshape (q, heads)
    [query_heads] qt = Transpose <perm = [0, 2, 1, 3]> (q4)
    [key_split] k4 = Reshape (x, heads)
    [key_heads] kh = Transpose <perm = [0, 2, 1, 3]> (k4)
{sdpa.core("kh")}
    [merge] h = Reshape (ot, merged)
    [mean] mean = ReduceMean (h, last_axis)
    [centre] d = Sub (h, mean)
    [square] sq = Pow (d, two)
    [variance] v = ReduceMean (sq, last_axis)
    [stable] e = Add (v, eps)
    [root] r = Sqrt (e)
    [norm] y = Div (d, r)
    [unread] dead = Neg (y)
    [twin] kept = Identity (h)
    [out] copy = Identity (kept)
}}
"""


def feeds(batch=2, sequence=5, seed=0):
    mask = np.ones((batch, 1, 1, sequence), np.bool_)
    mask[0, ..., sequence // 2 :] = False
    mask[-1] = False
    return {"x": np.random.default_rng(seed).standard_normal((batch, sequence, 8), np.float32), "mask": mask}


def run(tmp_path, source):
    out = tmp_path / "out"
    out.mkdir()
    return canonicalise(source, out=out, progress=Silent())


@pytest.fixture
def untyped_encoder():
    """Graphs as text carry no types between nodes; inference must find them."""
    return ir.from_onnx_text(ENCODER)


def test_the_canonical_model_computes_the_same_and_keeps_its_interface(tmp_path, untyped_encoder):
    folder = tmp_path / "exported"
    folder.mkdir()
    source = io.describe(untyped_encoder, io.save(untyped_encoder, folder), provenance=REAL)
    result = run(tmp_path, source)
    assert (result.inputs, result.outputs, result.opset) == (source.inputs, source.outputs, source.opset)
    assert result.provenance == source.provenance
    before, after = Session(source.path, as_written=True), Session(result.path, as_written=True)
    for batch, sequence in ((1, 1), (2, 5), (3, 16)):
        feed = feeds(batch, sequence)
        expected, found = before(feed), after(feed)
        assert list(found) == list(expected)
        for name, array in expected.items():
            np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-6)


def test_every_tensor_is_kept_or_has_a_fate(untyped_encoder):
    names = correspondence.tensor_names(untyped_encoder)
    fates = rewrite(untyped_encoder)
    after = correspondence.tensor_names(untyped_encoder)
    assert correspondence.unaccounted(names, fates, after) == ()
    assert {fate.tensor: fate.now for fate in fates if fate.now} == {"g": "p", "h": "copy", "kept": "copy"}
    assert correspondence.lookup(fates, "dead").reason == "no graph output depends on it"


def test_the_canonical_form_is_reached_in_one_step(untyped_encoder):
    rewrite(untyped_encoder)
    once = ir.to_proto(untyped_encoder).SerializeToString()
    assert rewrite(untyped_encoder) == ()
    assert ir.to_proto(untyped_encoder).SerializeToString() == once


def test_kept_nodes_keep_their_names_and_all_have_a_module(untyped_encoder):
    for node in untyped_encoder.graph:
        node.metadata_props[modules.MODULE] = "layer.0"
    names = {node.name for node in untyped_encoder.graph}
    rewrite(untyped_encoder)
    nodes = list(untyped_encoder.graph)
    assert [node.name for node in nodes if node.name not in names] == [
        "Transpose::kt::once",
        "Mul::a::scaled",
        "LayerNormalization::y::restored",
    ]
    assert {modules.module_of(node) for node in nodes} == {"layer.0"}
    assert all(value.dtype is not None and value.shape is not None for node in nodes for value in node.outputs)


def test_formats_that_a_model_arrived_with_follow_the_nodes_that_remain(tmp_path, untyped_encoder):
    folder = tmp_path / "exported"
    folder.mkdir()
    given = {"scores": Format.FP16, "guard": Format.FP16}
    source = io.describe(untyped_encoder, io.save(untyped_encoder, folder), provenance=REAL, given=given)
    assert run(tmp_path, source).given == {"scores": Format.FP16}


def test_large_weights_are_never_read_into_memory(tmp_path):
    width = 512
    text = f"""
    <ir_version: 10, opset_import: ["" : 20]>
    g (float[batch, {width}] x) => (float[batch, {width}] y)
    {{ [turn] t = Transpose <perm = [1, 0]> (w) [product] y = MatMul (x, t) }}
    """
    model = ir.from_onnx_text(text)
    weight = ir.tensor(np.random.default_rng(0).standard_normal((width, width), np.float32), name="w")
    value = next(node for node in model.graph if node.op_type == "Transpose").inputs[0]
    value.const_value, value.shape, value.dtype = weight, ir.Shape([width, width]), ir.DataType.FLOAT
    model.graph.register_initializer(value)
    folder = tmp_path / "exported"
    folder.mkdir()
    loaded = io.load(io.save(model, folder))
    rewrite(loaded)
    assert isinstance(loaded.graph.initializers["w"].const_value, ir.ExternalTensor)
    assert loaded.graph.initializers["w"].const_value.raw is None
    assert [node.op_type for node in loaded.graph] == ["Transpose", "MatMul"]


def test_a_tensor_without_a_type_is_an_error(tmp_path):
    text = """
    <ir_version: 10, opset_import: ["" : 20, "acme" : 1]>
    g (float[2] x) => (float[2] y) { a = acme.Mystery (x) y = Relu (a) }
    """
    with pytest.raises(GraphError) as error:
        rewrite(ir.from_onnx_text(text))
    assert str(error.value) == (
        "g: no element type is known for a\n"
        "  hint: shape inference stops at operators outside the ONNX standard: export with standard operators only"
    )
