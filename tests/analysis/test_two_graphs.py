"""Two graphs: what has a counterpart is compared, what has none is named, and a missing output never passes."""

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.analysis.comparison.two_graphs import compare_graphs, compare_outputs
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Fate
from pipeline.core.errors import ValidationError
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec
from pipeline.graph import modules

INPUTS = {"x": InputSpec(dtype="float32", axes=("batch", 2))}


def graph(body, outputs, parts, name="graph"):
    """A graph in ONNX text whose nodes are in the modules that `parts` names."""
    typed = ", ".join(f"float[batch, 2] {output}" for output in outputs)
    head = f'<ir_version: 10, opset_import: ["" : 20]> {name} (float[batch, 2] x) => ({typed})'
    model = ir.from_onnx_text(f"{head} {{ {body} }}")
    for position, (node, part) in enumerate(zip(model.graph, parts, strict=True)):
        node.name = f"node_{position}"
        node.metadata_props[modules.MODULE] = part
        for value in node.outputs:
            value.dtype, value.shape = ir.DataType.FLOAT, ir.Shape(["batch", 2])
    return model


def chain(*results, name="graph"):
    """Relu after Relu, each in a module `layer.<position>`."""
    operands = ("x", *results)
    body = "\n".join(f'"{new}" = Relu("{old}")' for old, new in zip(operands, results, strict=False))
    return graph(body, results[-1:], [f"layer.{position}" for position in range(len(results))], name)


@pytest.fixture
def batch(tmp_path):
    np.savez(tmp_path / "batch.npz", x=np.ones((3, 2), np.float32))
    return [tmp_path / "batch.npz"]


def pairs(found):
    return [(item.tensor, item.other) for item in found.matched]


def test_a_renamed_tensor_is_listed_on_both_sides(batch):
    found = compare_graphs(chain("a", "b", "y"), chain("a", "c", "y"), batch, INPUTS, Silent())
    assert pairs(found) == [("a", "a"), ("y", "y")]
    assert found.only_a == {"b": "no tensor of this name in B"}
    assert found.only_b == {"c": "no tensor of this name in A"}


def test_what_a_rewrite_says_of_a_renamed_tensor_matches_it(batch):
    fates = (Fate(tensor="b", now="c"), Fate(tensor="a", now=None, reason="folded away"))
    found = compare_graphs(chain("a", "b", "y"), chain("a", "c", "y"), batch, INPUTS, Silent(), fates=fates)
    assert pairs(found) == [("b", "c"), ("y", "y")]
    assert found.only_a == {"a": "folded away"}
    assert found.only_b == {"a": "no tensor of this name in A"}


def test_a_rescaled_tensor_is_compared_in_its_own_scale(batch):
    body = "four = Constant <value = float {4.0}> () b = Mul(x, four) quarter = Constant <value = float {0.25}> ()"
    scaled = graph(f"{body} y = Mul(b, quarter)", ["y"], ["", "", "", ""])
    scaled.graph[0].outputs[0].shape = scaled.graph[2].outputs[0].shape = ir.Shape([])
    plain = graph("b = Relu(x) y = Relu(b)", ["y"], ["", ""])
    fates = (Fate(tensor="b", now="b", exponent=2),)
    found = compare_graphs(plain, scaled, batch, INPUTS, Silent(), fates=fates)
    assert [(item.tensor, item.stats.max_abs) for item in found.matched] == [("b", 0.0), ("y", 0.0)]


def test_modules_match_what_was_renamed(batch):
    found = compare_graphs(chain("a", "b", "y"), chain("a", "c", "y"), batch, INPUTS, Silent(), by_module=True)
    assert pairs(found) == [("a", "a"), ("b", "c"), ("y", "y")]
    assert found.only_a == found.only_b == {}


def test_every_tensor_of_a_module_is_matched_and_not_only_its_last(batch):
    one = graph("a = Neg(x) b = Exp(a) c = Neg(b) y = Relu(c)", ["y"], ["m", "m", "m", "n"])
    other = graph("p = Neg(x) q = Exp(p) w = Abs(q) r = Neg(q) z = Relu(r)", ["z"], ["m", "m", "m", "m", "n"])
    found = compare_graphs(one, other, batch, INPUTS, Silent(), by_module=True)
    assert pairs(found) == [("a", "p"), ("b", "q"), ("c", "r"), ("y", "z")]
    assert found.only_b == {"w": "no tensor like it in its module in A, or the module is not there"}
    assert found.missing == ()
    assert [(row.module, row.compared, row.unmatched) for row in found.modules] == [("m", 3, 1), ("n", 1, 0)]


def test_a_module_whose_last_operator_was_replaced_still_hands_on_one_result(batch):
    one = graph("a = Neg(x) b = Abs(a) y = Relu(b)", ["y"], ["m", "m", "n"])
    other = graph("q = Abs(x) y = Relu(q)", ["y"], ["m", "n"])
    found = compare_graphs(one, other, batch, INPUTS, Silent(), by_module=True)
    assert pairs(found) == [("b", "q"), ("y", "y")]
    assert list(found.only_a) == ["a"]


def test_copies_that_only_rounding_adds_are_listed(batch):
    found = compare_graphs(chain("a", "y"), chain("a", "a::fp16", "y"), batch, INPUTS, Silent())
    assert found.only_b == {"a::fp16": "only rounding adds it; not in A"}
    both = compare_graphs(chain("a", "a::fp16", "y"), chain("a", "a::fp16", "y"), batch, INPUTS, Silent())
    assert [item.tensor for item in both.matched] == ["a", "a::fp16", "y"]


def test_an_output_of_one_graph_alone_is_missing(batch):
    one = graph("a = Neg(x) y = Relu(a) z = Abs(a)", ["y", "z"], ["", "", ""])
    other = graph("a = Neg(x) y = Relu(a) w = Abs(a)", ["y", "w"], ["", "", ""])
    found = compare_graphs(one, other, batch, INPUTS, Silent())
    assert found.missing == ("z: an output of A alone", "w: an output of B alone")


def test_nan_in_both_is_not_alike(tmp_path):
    np.savez(tmp_path / "batch.npz", x=np.array([[np.nan, 1]], np.float32))
    found = compare_graphs(chain("y"), chain("y"), [tmp_path / "batch.npz"], INPUTS, Silent())
    stats = found.matched[0].stats
    assert (stats.nan_reference, stats.nan_candidate, stats.mismatched_nonfinite) == (1, 1, 1)


def test_nothing_in_common_is_an_error(batch):
    with pytest.raises(ValidationError) as error:
        compare_graphs(chain("a"), chain("b", name="other"), batch, INPUTS, Silent())
    assert str(error.value) == (
        "graph and other: no tensor of the two has a counterpart in the other\n  hint: match them with --by module"
    )


def test_runs_are_compared_by_their_outputs(batch):
    one = Session(graph("y = Relu(x) z = Abs(x)", ["y", "z"], ["", ""]))
    other = Session(graph("y = Neg(x)", ["y"], [""]))
    found = compare_outputs(one, other, batch, INPUTS, {"y": ("batch", 2), "z": ("batch", 2)}, Silent())
    assert [(item.tensor, item.stats.max_abs) for item in found.matched] == [("y", 2.0)]
    assert found.missing == ("z: an output of A alone",)


def test_runs_without_a_common_output_are_an_error(batch):
    one, other = Session(graph("y = Relu(x)", ["y"], [""])), Session(graph("z = Relu(x)", ["z"], [""]))
    with pytest.raises(ValidationError) as error:
        compare_outputs(one, other, batch, INPUTS, {}, Silent())
    assert str(error.value) == "y: an output of A alone, z: an output of B alone: the two have no output in common"
