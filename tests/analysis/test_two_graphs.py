"""Two graphs: what has a counterpart is compared, what has none is named."""

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.analysis.two_graphs import compare_graphs
from pipeline.core.errors import ValidationError
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec
from pipeline.graph import modules

INPUTS = {"x": InputSpec(dtype="float32", axes=("batch", 2))}


def chain(*results, name="graph"):
    """Relu after Relu, each in a module `layer.<position>`."""
    operands = ("x", *results)
    body = "\n".join(f"{new} = Relu({old})" for old, new in zip(operands, results, strict=False))
    head = f'<ir_version: 10, opset_import: ["" : 20]> {name} (float[batch, 2] x) => (float[batch, 2] {results[-1]})'
    model = ir.from_onnx_text(f"{head} {{ {body} }}")
    for position, node in enumerate(model.graph):
        node.name = f"node_{position}"
        node.metadata_props[modules.MODULE] = f"layer.{position}"
        node.outputs[0].dtype, node.outputs[0].shape = ir.DataType.FLOAT, ir.Shape(["batch", 2])
    return model


@pytest.fixture
def batch(tmp_path):
    np.savez(tmp_path / "batch.npz", x=np.ones((3, 2), np.float32))
    return [tmp_path / "batch.npz"]


def test_a_renamed_tensor_is_listed_on_both_sides(batch):
    found = compare_graphs(chain("a", "b", "y"), chain("a", "c", "y"), batch, INPUTS, Silent())
    assert [(item.tensor, item.other) for item in found.matched] == [("a", "a"), ("y", "y")]
    assert found.only_a == {"b": "no tensor of this name in B"}
    assert found.only_b == {"c": "no tensor of this name in A"}


def test_modules_match_what_was_renamed(batch):
    found = compare_graphs(chain("a", "b", "y"), chain("a", "c", "y"), batch, INPUTS, Silent(), by_module=True)
    assert [(item.tensor, item.other) for item in found.matched] == [("a", "a"), ("b", "c"), ("y", "y")]
    assert found.only_a == found.only_b == {}


def test_nothing_in_common_is_an_error(batch):
    with pytest.raises(ValidationError) as error:
        compare_graphs(chain("a"), chain("b", name="other"), batch, INPUTS, Silent())
    assert str(error.value) == (
        "graph and other: no tensor of the two has a counterpart in the other\n  hint: match them with --by module"
    )
