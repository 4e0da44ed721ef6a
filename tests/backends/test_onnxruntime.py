from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.backends.onnxruntime import Session, run
from pipeline.core.errors import GraphError
from pipeline.graph import io

SCALE = """
<ir_version: 10, opset_import: ["" : 20]>
scale (float[n, 512] x) => (float[n, 512] y) {
    [scale] y = Mul(x, w)
}
"""


def scale(value: float) -> ir.Model:
    model = ir.from_onnx_text(SCALE)
    weight = ir.val("w", const_value=ir.tensor(np.full(512, value, np.float32), name="w"))
    model.graph.register_initializer(weight)
    model.graph.node(0).replace_input_with(1, weight)
    return model


def test_a_model_in_memory_reads_its_weights_from_its_folder(tmp_path: Path) -> None:
    saved = io.save(scale(3.0), tmp_path)

    x = np.ones((2, 512), np.float32)
    on_disk, in_memory = run(saved, {"x": x}), run(io.load(saved), {"x": x})

    np.testing.assert_array_equal(on_disk["y"], 3 * x)
    np.testing.assert_array_equal(in_memory["y"], 3 * x)


def test_weights_may_lie_in_several_folders(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    models = []
    for folder, value in zip(folders, (3.0, 5.0), strict=True):
        folder.mkdir()
        models.append(io.load(io.save(scale(value), folder)))
    first, second = models
    other = second.graph.initializers.pop("w")
    other.name = "v"
    first.graph.register_initializer(other)
    total = ir.node("Mul", [first.graph.outputs[0], other], name="again")
    total.outputs[0].name, total.outputs[0].dtype = "z", ir.DataType.FLOAT
    total.outputs[0].shape = first.graph.outputs[0].shape
    first.graph.append(total)
    first.graph.outputs.append(total.outputs[0])

    outputs = run(first, {"x": np.ones((1, 512), np.float32)})

    assert list(outputs) == ["y", "z"]
    np.testing.assert_array_equal(outputs["z"], np.full((1, 512), 15, np.float32))


def test_feeds_must_be_the_inputs() -> None:
    with pytest.raises(GraphError, match=r"^scale: inputs are \['x'\], got \['mask', 'x'\]$"):
        Session(scale(1.0))({"x": np.ones((1, 512), np.float32), "mask": np.ones(1)})


def test_a_model_that_does_not_load_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no protobuf")

    with pytest.raises(GraphError) as error:
        Session(broken)

    assert error.value.where == str(broken)
    assert error.value.what.startswith("ONNX Runtime cannot load this model: ")


def test_a_run_that_fails_names_the_model() -> None:
    with pytest.raises(GraphError) as error:
        Session(scale(1.0))({"x": np.ones((1, 7), np.float32)})

    assert str(error.value).startswith("scale: ONNX Runtime failed: ")


@pytest.mark.parametrize("as_written", [True, False])
def test_explicit_rounding_survives_optimisation(as_written: bool) -> None:
    model = ir.from_onnx_text("""
        <ir_version: 10, opset_import: ["" : 20]>
        rounded (float[1] x, float[1] two, float[1] quarter) => (float[1] y) {
            a32 = Mul(x, two)  a16 = Cast <to = 10> (a32)  a = Cast <to = 1> (a16)
            b32 = Mul(a, quarter)  b16 = Cast <to = 10> (b32)  y = Cast <to = 1> (b16)
        }""")
    feeds = {name: np.array([value], np.float32) for name, value in (("x", 60000), ("two", 2), ("quarter", 0.25))}

    assert Session(model, as_written=as_written)(feeds)["y"] == np.inf
