"""Mean and worst over samples, and which sample was worst: reduced in the graph, held to the full arrays."""

import math

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.analysis.comparison.compare import compare
from pipeline.analysis.comparison.elements import elements_of, samples, stack_of
from pipeline.analysis.comparison.outputs import judge
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import OnnxModel, TensorInfo
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec, ToleranceSpec
from tests.records import REAL

INPUTS = {
    "x": InputSpec(dtype="float32", axes=("batch", "sequence", 4)),
    "mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}
GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
graph (float[batch, sequence, 4] x, int64[batch, sequence] mask) => (float[batch, sequence, 4] y)
<float[4] scale = {SCALE}, int64[3] heads = {-1, 2, 2}, int64[1] first = {0}> {
    [mul] a = Mul(x, scale)
    [fold] b = Reshape(a, heads)
    [over_all] c = ReduceSum(a, first)
    [join] d = Add(a, c)
    [root] y = Sqrt(d)
}
"""
SHAPES = {
    "a": ("batch", "sequence", 4),
    "b": ("sequence*batch", 2, 2),
    "c": (1, "sequence", 4),
    "d": ("batch", "sequence", 4),
    "y": ("batch", "sequence", 4),
}


def graph(*scale: float) -> ir.Model:
    model = ir.from_onnx_text(GRAPH.replace("SCALE", ", ".join(map(str, scale))))
    for node in model.graph:
        (value,) = node.outputs
        value.dtype, value.shape = ir.DataType.FLOAT, ir.Shape(SHAPES[str(value.name)])
    return model


REFERENCE, CANDIDATE = graph(1, 1, 1, 1), graph(1, 1.001, 1, 0.99)


@pytest.fixture
def files(tmp_path):
    """Batches of 3 and 2 samples, each with an element that stands out by another amount."""
    random, paths = np.random.default_rng(0), []
    for index, count in enumerate((3, 2)):
        x = random.uniform(1, 2, (count, 5, 4)).astype(np.float32)
        x[:, 0, 3] *= random.permutation(count) * 8 + index
        mask = np.arange(5) < random.integers(2, 6, (count, 1))
        paths.append(tmp_path / f"{index}.npz")
        np.savez(paths[-1], x=x, mask=mask.astype(np.int64))
    return paths


def arrays(model, files, name):
    """The tensor of this name in every batch, and the mask."""
    copy = model.clone()
    copy.graph.outputs.clear()
    copy.graph.outputs.extend(value for node in copy.graph for value in node.outputs)
    session = Session(copy, as_written=True)
    for file in files:
        with np.load(file) as feeds:
            yield session({key: feeds[key] for key in INPUTS})[name].astype(np.float64), feeds["mask"].astype(bool)


def by_hand(files, name, *, masked=True):
    """Relative errors of every sample of a tensor that has the mask's axes."""
    errors = []
    pairs = zip(arrays(REFERENCE, files, name), arrays(CANDIDATE, files, name), strict=True)
    for (one, mask), (other, _) in pairs:
        mask = mask if masked else np.ones_like(mask)
        errors += [np.linalg.norm((b - a)[m]) / np.linalg.norm(a[m]) for a, b, m in zip(one, other, mask, strict=True)]
    return errors


@pytest.mark.parametrize("name", ["a", "d", "y"])
def test_mean_and_worst_are_those_of_single_samples_where_no_mask_hides_them(files, name):
    stats = compare(REFERENCE, CANDIDATE, (), files, INPUTS, Silent())[0][name].kept.stats()
    errors = by_hand(files, name)
    assert len(errors) == 5
    assert (stats.worst_sample, stats.worst_together) == (int(np.argmax(errors)), 1)
    assert stats.worst_relative_l2 == pytest.approx(max(errors), rel=1e-5)
    assert stats.mean_relative_l2 == pytest.approx(np.mean(errors), rel=1e-5)


def test_an_axis_that_others_are_folded_into_is_taken_apart_again(files):
    found, _ = compare(REFERENCE, CANDIDATE, (), files, INPUTS, Silent())
    stats, errors = found["b"].kept.stats(), by_hand(files, "a", masked=False)
    assert (stats.worst_sample, stats.worst_together) == (int(np.argmax(errors)), 1)
    assert stats.worst_relative_l2 == pytest.approx(max(errors), rel=1e-5)


def test_a_tensor_without_an_axis_of_samples_has_a_worst_batch(files):
    stats = compare(REFERENCE, CANDIDATE, (), files, INPUTS, Silent())[0]["c"].kept.stats()
    assert (stats.worst_sample, stats.worst_together) in {(0, 3), (3, 2)}
    assert stats.worst_relative_l2 >= stats.relative_l2


def test_a_sample_that_is_nan_is_the_worst_and_makes_the_mean_infinite(files):
    with np.load(files[1]) as feeds:
        broken = {key: feeds[key].copy() for key in INPUTS}
    broken["x"][1, 0, 3] = -1e4
    np.savez(files[1], **broken)
    almost = graph(1, 1, 1, 0)
    stats = compare(almost, REFERENCE, (), files, INPUTS, Silent())[0]["y"].kept.stats()
    assert stats.nan_candidate > 0
    assert (stats.worst_relative_l2, stats.mean_relative_l2) == (math.inf, math.inf)
    assert stats.worst_sample in (3, 4)


def test_outputs_are_judged_by_sample(files):
    told = [TensorInfo(name=name, dtype=item.dtype, shape=item.axes) for name, item in INPUTS.items()]
    made = TensorInfo(name="y", dtype="float32", shape=SHAPES["y"])
    exported = OnnxModel(path=files[0], opset=20, inputs=tuple(told), outputs=(made,), provenance=REAL)
    found = judge(exported, Session(REFERENCE), {"it": Session(CANDIDATE)}, files, INPUTS, ToleranceSpec(), Silent())
    stats, errors = found["it"]["y"].difference.stats(), by_hand(files, "y")
    assert stats.worst_sample == int(np.argmax(errors))
    assert stats.mean_relative_l2 == pytest.approx(np.mean(errors), rel=1e-5)


@pytest.mark.parametrize(
    ("shape", "leads"),
    [(("batch", 4), True), (("12 * batch", 4), True), (("batch + 1",), False), ((1, "batch"), False), ((), False)],
)
def test_samples_lie_along_the_first_axis_or_nowhere(shape, leads):
    assert elements_of(shape, INPUTS).leads is leads


def test_a_model_without_an_axis_of_samples_takes_one_at_a_time():
    inputs = {"x": InputSpec(dtype="float32", axes=(2, 3))}
    assert stack_of(inputs) is None
    assert samples(stack_of(inputs), {"x": np.zeros((2, 3))}) == 1
    assert not elements_of(("batch", 3), inputs).leads
