"""Single tensors close up: what is saved, what is named worst, what Polygraphy's comparator says."""

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.analysis.comparison.close_up import close_up
from pipeline.core.artifacts import Fate
from pipeline.core.errors import ValidationError
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec, ToleranceSpec
from pipeline.graph import modules

INPUTS = {
    "x": InputSpec(dtype="float32", axes=("batch", "sequence")),
    "mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}
GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
graph (float[batch, sequence] x, int64[batch, sequence] mask) => (float[batch, sequence] y)
<float two = {{2.0}}, float step = {{{step}}}> {{
    [double] a = Mul(x, two)
    [shift] b = Add(a, step)
    [negate] y = Neg(b)
    [expensive] unread = Exp(y)
}}
"""


def model(step=0.0):
    graph = ir.from_onnx_text(GRAPH.format(step=step))
    for node, module in zip(graph.graph, ("block.in", "block", "block.out", "other"), strict=True):
        node.metadata_props[modules.MODULE] = module
        node.outputs[0].dtype, node.outputs[0].shape = ir.DataType.FLOAT, ir.Shape(["batch", "sequence"])
    return graph


TWO = (np.ones((2, 3)), np.ones((1, 3)))


@pytest.fixture
def look(tmp_path):
    def run(*wanted, step=0.0, xs=TWO, masks=None, fates=()):
        files = []
        for at, x in enumerate(xs):
            files.append(tmp_path / f"{at}.npz")
            mask = np.ones(x.shape, np.int64) if masks is None else masks[at]
            np.savez(files[-1], x=x.astype(np.float32), mask=mask)
        return close_up(model(), model(step), fates, wanted, files, INPUTS, ToleranceSpec(), tmp_path, Silent())

    return run


def test_arrays_of_every_batch_are_saved_with_what_the_node_read(look):
    (found,) = look("b", step=0.5)
    assert found.operands == ("a",)
    assert found.shapes == ((2, 3), (1, 3))
    with np.load(found.file) as arrays:
        kinds = ("reference", "candidate", "alone", "operand_0.reference", "operand_0.candidate")
        assert sorted(arrays) == sorted(f"batch_000{batch}.{kind}" for batch in (0, 1) for kind in kinds)
        assert (arrays["batch_0001.candidate"] == 2.5).all()
        assert (arrays["batch_0001.reference"] == arrays["batch_0001.operand_0.reference"]).all()


def test_the_worst_elements_come_with_their_indexes_and_values(look):
    x = np.arange(6.0).reshape(2, 3)
    (found,) = look("a", xs=(x, x[:1] * 100))
    assert found.worst == ()
    (found,) = look("y", step=0.25, xs=(x,))
    assert len(found.worst) == 6
    assert {(item.index, item.reference, item.candidate) for item in found.worst} >= {
        ((1, 2), -10.0, -10.25),
        ((0, 0), 0.0, -0.25),
    }
    assert all(item.alone == item.reference for item in found.worst), "Neg adds nothing of its own"
    assert found.injected.max_abs == 0.0


@pytest.mark.parametrize(("step", "passed"), [(0.0, True), (0.04, True), (0.2, False)])
def test_polygraphys_comparator_judges(look, step, passed):
    (found,) = look("b", step=step)
    assert found.passed is passed
    assert found.criterion == "Polygraphy's comparator, each element within atol 0.05 or rtol 0.05"


@pytest.mark.parametrize("position", [0, 2, 5])
def test_nan_in_both_is_refused_and_named_worst(look, position):
    x = np.ones((2, 3))
    x.flat[position] = np.nan
    (found,) = look("b", xs=(x,))
    assert not found.passed
    assert (found.reference.nan, found.candidate.nan, found.error.nan) == (1, 1, 1)
    assert [item.index for item in found.worst] == [divmod(position, 3)]


def test_masked_elements_do_not_count(look):
    mask = np.array([[1, 1, 0], [1, 0, 0]])
    x = np.array([[1, 1, 1e30], [1, 1e30, 1e30]])
    (found,) = look("b", step=1.0, xs=(x,), masks=(mask,))
    assert found.stats.elements == 3
    assert sum(found.reference.counts) == 3
    assert {item.index for item in found.worst} == {(0, 0), (0, 1), (1, 0)}


def test_nodes_and_modules_stand_for_their_results(look):
    assert [item.tensor for item in look("shift", "b", "block")] == ["b", "y"]


def test_an_unknown_name_is_an_error_with_the_nearest(look):
    with pytest.raises(ValidationError) as error:
        look("shif")
    assert str(error.value) == (
        "layer shif: no float tensor, node or module has this name\n  hint: nearest: shift, expensive"
    )


def test_a_tensor_that_is_gone_says_why(look):
    with pytest.raises(ValidationError) as error:
        look("a", fates=(Fate(tensor="a", now=None, reason="folded into b"),))
    assert str(error.value) == "layer a: it has nothing to be compared with: folded into b"
