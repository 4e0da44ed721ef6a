import onnx_ir as ir
import pytest

from pipeline.core.errors import GraphError
from pipeline.graph import axes, infer, typed

FLATTEN = """
<ir_version: 10, opset_import: ["" : 20]>
flatten (float[batch, 3, 4] x) => (y) {
    [r] r = Relu(x)
    [shape] s = Shape(r)
    [zero] z = Constant <value_ints = [0]> ()
    [first] f = Gather(s, z)
    [rest] minus = Constant <value_ints = [-1]> ()
    [to] t = Concat <axis = 0> (f, minus)
    [flat] y = Reshape(r, t)
}
"""

FOREIGN = """
<ir_version: 10, opset_import: ["" : 20, "acme" : 1]>
foreign (float[2] x) => (y) {
    [a] a = acme.Secret(x)
    [b] b = acme.Secret(a)
    [c] y = Neg(b)
}
"""


def model(text):
    return ir.from_onnx_text(text)


def shapes(graph):
    return {node.name: [str(value.shape) for value in node.outputs] for node in graph}


def test_types_and_shapes_are_inferred():
    found = model(FLATTEN)
    infer.infer(found)
    assert list(typed.untyped(found)) == []
    assert shapes(found.graph)["r"] == ["[batch,3,4]"]
    assert shapes(found.graph)["flat"] == ["[batch,None]"]  # ONNX does not divide by a named size


def test_what_was_known_is_kept_and_invented_names_are_not():
    found = model(FLATTEN)
    found.graph.outputs[0].shape = ir.Shape(["rows", 12])
    infer.infer(found)
    assert str(found.graph.outputs[0].shape) == "[rows,12]"
    every = [dim for node in found.graph for value in node.outputs for dim in value.shape or ()]
    assert not any(str(dim).startswith("unk__") for dim in every)


@pytest.mark.parametrize("opset", [18, 20, 21, 22])
def test_group_normalizations_have_the_type_and_shape_of_what_they_normalise(opset):
    found = model(
        f"""
    <ir_version: 10, opset_import: ["" : {opset}]>
    groups (float[batch, 4, 3] x) => (y) <float[4] w = {{1, 1, 1, 1}}> {{
        [half] h = Cast <to = 10> (x)
        [scale] v = Cast <to = 10> (w)
        [one] a = GroupNormalization <num_groups = 2> (h, v, v)
        [two] b = GroupNormalization <num_groups = 4> (a, v, v)
        [out] y = Neg(b)
    }}
    """
    )
    infer.infer(found)
    assert found.graph.outputs[0].dtype is ir.DataType.FLOAT16
    assert {shapes(found.graph)[name][0] for name in ("one", "two", "out")} == {"[batch,4,3]"}
    assert [node.op_type for node in found.graph][2:4] == ["GroupNormalization", "GroupNormalization"]


def test_names_that_an_earlier_inference_invented_give_way_to_the_axes():
    found = model(FLATTEN)
    found.graph[0].outputs[0].shape = ir.Shape(["unk__7", 3, 4])
    infer.infer(found)
    assert shapes(found.graph)["r"] == ["[batch,3,4]"]


def test_untyped_tensors_are_named():
    found = model(FOREIGN)
    infer.infer(found)
    with pytest.raises(GraphError) as caught:
        typed.require_typed(found)
    assert str(caught.value) == (
        "foreign: no element type is known for a, b, y\n"
        "  hint: shape inference stops at operators outside the ONNX standard: export with standard operators only"
    )


def test_many_untyped_tensors_are_counted():
    lines = "\n".join(f"    [n{i}] t{i + 1} = acme.Secret(t{i})" for i in range(9))
    text = f"""
<ir_version: 10, opset_import: ["" : 20, "acme" : 1]>
foreign (float[2] t0) => (t9) {{
{lines}
}}
"""
    with pytest.raises(GraphError, match="no element type is known for t1, t2, t3, t4, t5 and 4 more"):
        typed.require_typed(model(text))


def test_axes_are_renamed_in_expressions_and_nowhere_else():
    found = model(FLATTEN)
    found.graph.node("r").outputs[0].shape = ir.Shape(["2*batch", "batches", 4])
    axes.rename(found, {"batch": "rows", "rows": "never"})
    assert str(found.graph.inputs[0].shape) == "[rows,3,4]"
    assert str(found.graph.node("r").outputs[0].shape) == "[2*rows,batches,4]"
