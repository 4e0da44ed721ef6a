import numpy as np
import onnx_ir as ir
import pytest

from pipeline.backends.onnxruntime import Session
from pipeline.core.errors import ExportError, GraphError
from pipeline.core.formats import Format
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.graph import modules, typed
from pipeline.models import onnx_source

INPUTS = {"x": InputSpec(dtype="float32", axes=("batch", 4))}
AXES = {"batch": AxisRange(min=1, opt=2, max=8)}

OLD = """
<ir_version: 7, opset_import: ["" : 14], doc_string: "made in /home/someone">
old (float[batch_size, 4] x) => (float[batch_size, 1] y, float[batch_size, 4] z) {
    ["/encoder/layer.0/Relu"] z = Relu(x)
    ["/encoder/layer.0/ReduceMean"] y = ReduceMean <axes = [1]> (z)
}
"""

# The constant is 60000 by its bits.
HALF = """
<ir_version: 10, opset_import: ["" : 20]>
half (float16[batch, 4] x) => (float16[batch, 4] y) {
    [two] c = Constant <value = float16 {31571}> ()
    [up] a = Mul(x, c)
    [wide] b = Cast <to = 1> (a)
    [relu] r = Relu(b)
    [down] d = Cast <to = 10> (r)
    [shape] s = Shape(d)
    [again] y = Reshape(d, s)
}
"""

QUANTISED = """
<ir_version: 10, opset_import: ["" : 20]>
quantised (float[batch, 4] x) => (float[batch, 4] y) {
    [scale] s = Constant <value_float = 0.5> ()
    [q] q = QuantizeLinear(x, s)
    [dq] y = DequantizeLinear(q, s)
}
"""


def write(tmp_path, text):
    path = tmp_path / "model.onnx"
    ir.save(ir.from_onnx_text(text), path)
    return path


def load(path, inputs=INPUTS, axes=AXES, outputs=(), opset=20):
    return onnx_source.load(path, opset=opset, inputs=inputs, axes=axes, outputs=outputs)


def test_is_brought_to_the_specs_opset_axes_and_outputs(tmp_path):
    path = write(tmp_path, OLD)
    found = load(path, outputs=("y",))
    assert found.model.opset_imports[""] == 20
    assert str(found.model.graph.inputs[0].shape) == "[batch,4]"
    assert [(value.name, str(value.shape)) for value in found.model.graph.outputs] == [("y", "[batch,1]")]
    assert found.given == {}
    typed.require_typed(found.model)
    x = np.float32([[-1, 2, 3, 4]])
    assert Session(found.model)({"x": x})["y"].tolist() == Session(path)({"x": x})["y"].tolist() == [[2.25]]


def test_nodes_keep_their_names_and_tell_their_modules(tmp_path):
    found = load(write(tmp_path, OLD))
    assert {node.name: modules.module_of(node) for node in found.model.graph if node.op_type != "Constant"} == {
        "/encoder/layer.0/Relu": "encoder.layer.0",
        "/encoder/layer.0/ReduceMean": "encoder.layer.0",
    }


def test_nothing_tells_of_the_machine_it_was_made_on(tmp_path):
    found = load(write(tmp_path, OLD))
    assert b"/home/" not in ir.to_proto(found.model).SerializeToString()


def test_nodes_without_a_name_get_one_of_their_own(tmp_path):
    text = OLD.replace('["/encoder/layer.0/Relu"] ', "").replace('["/encoder/layer.0/ReduceMean"] ', "")
    names = [node.name for node in load(write(tmp_path, text)).model.graph]
    assert all(names)
    assert len(set(names)) == len(names)


def test_half_precision_is_lifted_and_remembered(tmp_path):
    path = write(tmp_path, HALF)
    found = load(path)
    assert found.given == {
        "two": Format.FP16,
        "up": Format.FP16,
        "wide": Format.FP32,
        "relu": Format.FP32,
        "down": Format.FP16,
        "again": Format.FP16,
    }
    assert found.dtypes == {"x": "float16"}
    dtypes = {value.dtype for node in found.model.graph for value in node.outputs}
    assert dtypes == {ir.DataType.FLOAT, ir.DataType.INT64}
    x = np.float32([[1, 2, 3, -4]])
    assert Session(found.model)({"x": x})["y"].tolist() == [[60000.0, 120000.0, 180000.0, 0.0]]


def test_quantised_models_are_refused(tmp_path):
    with pytest.raises(GraphError) as caught:
        load(write(tmp_path, QUANTISED))
    assert str(caught.value) == (
        "model.onnx: the model is quantised: node q is QuantizeLinear\n"
        "  hint: give the model from before quantisation: fp16 is decided from fp32"
    )


def test_other_inputs_than_the_specs(tmp_path):
    with pytest.raises(ExportError) as caught:
        load(write(tmp_path, OLD), inputs={"image": INPUTS["x"]})
    assert str(caught.value) == (
        "inputs: the model's inputs are ['x'], the spec's are ['image']\n"
        "  hint: name the inputs in engine.toml as the model does"
    )


def test_other_outputs_than_the_models(tmp_path):
    with pytest.raises(ExportError) as caught:
        load(write(tmp_path, OLD), outputs=("logits",))
    assert str(caught.value) == "model.outputs: the model has no outputs ['logits']; it has ['y', 'z']"


def test_other_types_ranks_and_sizes_than_the_models(tmp_path):
    path = write(tmp_path, OLD)
    with pytest.raises(ExportError, match=r"inputs.x.dtype: the model takes float32, the spec says int64"):
        load(path, inputs={"x": InputSpec(dtype="int64", axes=("batch", 4))})
    with pytest.raises(ExportError, match=r"inputs.x.axes: the model's input has 2 dimensions, the spec's 3"):
        load(path, inputs={"x": InputSpec(dtype="float32", axes=("batch", 4, 4))})
    with pytest.raises(ExportError, match=r"dimension 1 is baked in: the model takes 4, the spec says 5"):
        load(path, inputs={"x": InputSpec(dtype="float32", axes=("batch", 5))})


def test_an_axis_that_the_file_fixes_is_an_error(tmp_path):
    path = write(tmp_path, OLD.replace("batch_size", "2"))
    with pytest.raises(ExportError) as caught:
        load(path)
    assert str(caught.value) == (
        "inputs.x.axes: dimension 0 is baked in: the model takes 2, the spec says 'batch' (1 to 8)\n"
        "  hint: give 2 as the size, or export the model again with a dynamic axis"
    )


def test_an_opset_above_the_specs_is_not_guessed_down(tmp_path):
    text = OLD.replace('"" : 14', '"" : 22').replace(" <axes = [1]> (z)", "(z)")
    with pytest.raises(GraphError) as caught:
        load(write(tmp_path, text))
    assert str(caught.value) == (
        "model.onnx: the model has opset 22, which cannot be converted to 20\n  hint: set model.opset = 22"
    )
