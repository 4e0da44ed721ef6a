import numpy as np
import onnx
import onnx_ir as ir
import pytest

from pipeline.backends.onnxruntime import run
from pipeline.precision.emulation import shaken

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
small (float[2, 3] x) => (float[2, 4] y) <float[3, 4] w> {
    [sum] a = MatMul (x, w)
    [move] b = Relu (a)
    [norm] y = Softmax (b)
}
"""


@pytest.fixture
def model():
    proto = onnx.parser.parse_model(GRAPH)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.full((3, 4), 0.5, np.float32), "w"))
    made = ir.from_proto(proto)
    for node in made.graph:
        node.outputs[0].dtype = ir.DataType.FLOAT
    return made


X = {"x": np.arange(6, dtype=np.float32).reshape(2, 3) / 7}


def test_noise_is_of_the_size_of_the_longest_sum(model):
    assert shaken.epsilon(model) == pytest.approx(2.0**-24 * 3**0.5)


def test_sums_move_by_no_more_than_asked_and_keep_their_names(model):
    before = run(model, X)["y"]
    fates = shaken.shake(model, 1e-3, repeat=0)
    after = run(model, X)["y"]
    assert 0 < np.abs(after - before).max() < 1e-2
    assert {"a::unshaken", "y::unshaken"} <= {fate.tensor for fate in fates}
    assert all(fate.now is None for fate in fates)
    assert [value.name for value in model.graph.outputs] == ["y"]
    assert "b" in {node.outputs[0].name for node in model.graph}


def test_two_graphs_get_the_same_noise_and_another_repeat_another(model):
    copies = [ir.from_proto(ir.to_proto(model)) for _ in range(3)]
    for copy, repeat in zip(copies, (0, 0, 1), strict=True):
        shaken.shake(copy, 1e-3, repeat=repeat)
    one, same, other = (run(copy, X)["y"] for copy in copies)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
