import pytest

from pipeline.backends import layer_names


@pytest.mark.parametrize(
    ("text", "nodes", "enclosing"),
    [
        ("", (), ()),
        ("something else", (), ()),
        ("[ONNX Layer: a]", ("a",), ()),
        ("[ONNX Layer: a]\x1f[ONNX Layer: b]\x1f[ONNX Layer: a]", ("a", "b"), ()),
        ("[ONNX Layer: layers[0].fc]", ("layers[0].fc",), ()),
        ("[ONNX Layer: conv]__gemm_from_conv1x1", ("conv",), ()),
        ("[ONNX Layer: a | g (then_branch) | inner (If) | outer (Loop)]", ("a",), ("inner", "outer")),
    ],
)
def test_names_are_read_as_the_parser_writes_them(text, nodes, enclosing):
    assert (layer_names.nodes(text), layer_names.enclosing(text)) == (nodes, enclosing)
