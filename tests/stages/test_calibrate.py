from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.core.artifacts import OnnxModel, Provenance, Samples, SampleSet, TensorRange
from pipeline.core.errors import CalibrationError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.graph import io
from pipeline.stages.calibrate import calibrate

MODEL = """
<ir_version: 10, opset_import: ["" : 20]>
model (float[n, 2] x, bool c) => (float[2, n] z) {
    [double] y = Add(x, x)
    [turn] t = Transpose <perm = [1, 0]> (y)
    [root] r = Sqrt(t)
    [shape] s = Shape(r)
    [choose] z = If (c) <
        then_branch = yes () => (float[2, n] kept) { [keep] kept = Identity(r) },
        else_branch = no () => (float[2, n] negated) { [negate] negated = Neg(r) }
    >
}
"""

PROVENANCE = Provenance(source="test", digest="0" * 64, licence="CC0-1.0", real=True)


def saved(text: str, folder: Path) -> OnnxModel:
    model = ir.from_onnx_text(text)
    for node, dtype in zip(model.graph, [ir.DataType.FLOAT] * 3 + [ir.DataType.INT64, ir.DataType.FLOAT], strict=True):
        node.outputs[0].dtype = dtype
    return io.describe(model, io.save(model, folder), provenance=PROVENANCE)


def samples(folder: Path, *batches: np.ndarray, name: str = "x") -> Samples:
    paths = []
    for index, batch in enumerate(batches):
        paths.append(folder / f"batch_{index:04}.npz")
        np.savez(paths[-1], **{name: batch, "c": np.array(True), "expected.label": np.zeros(1)})
    found = SampleSet(batches=tuple(paths), samples=len(batches), source="test", licence="CC0-1.0")
    return Samples(calibration=found, validation=found)


def test_every_float_tensor_has_a_range_or_a_reason(tmp_path: Path) -> None:
    model = saved(MODEL, tmp_path)
    data = samples(
        tmp_path,
        np.array([[1, 4], [0, 40000]], np.float32),
        np.array([[-1, 2.0**-26]], np.float32),
    )

    ranges = calibrate(model, data, Format.FP16, out=tmp_path, progress=Silent())

    y = TensorRange(
        low=-2, high=80000, smallest=2.0**-25, elements=6, overflow=1, subnormal=1, lost=1, history=(8e4, 8e4)
    )
    assert ranges.model == io.model_digest(model)
    assert ranges.samples == 2
    assert ranges.tensors["y"] == y
    assert ranges.tensors["t"] == y
    assert ranges.tensors["r"].nan == 1
    assert ranges.tensors["r"].high == float(np.sqrt(np.float32(80000)))
    assert ranges.tensors.keys() == {"x", "y", "t", "r", "z"}
    assert ranges.unobserved == {
        "kept": "inside a subgraph of node choose",
        "negated": "inside a subgraph of node choose",
    }


def test_a_tensor_that_was_empty_in_every_batch_says_so(tmp_path: Path) -> None:
    text = """
        <ir_version: 10, opset_import: ["" : 20]>
        model (float[n] x) => (float[m] y) {
            positive = Greater(x, zero)
            y = Compress(x, positive)
        }"""
    model = ir.from_onnx_text(text)
    zero = ir.val("zero", const_value=ir.tensor(np.array(0, np.float32), name="zero"))
    model.graph.register_initializer(zero)
    model.graph.node(0).replace_input_with(1, zero)
    reference = io.describe(model, io.save(model, tmp_path), provenance=PROVENANCE)
    np.savez(tmp_path / "b.npz", x=np.array([-1, -2], np.float32))
    found = SampleSet(batches=(tmp_path / "b.npz",), samples=1, source="test", licence="CC0-1.0")

    ranges = calibrate(
        reference, Samples(calibration=found, validation=found), Format.FP16, out=tmp_path, progress=Silent()
    )

    assert ranges.unobserved == {"y": "it was empty in every batch"}


def test_a_batch_without_an_input_is_an_error(tmp_path: Path) -> None:
    data = samples(tmp_path, np.ones((1, 2), np.float32), name="image")

    with pytest.raises(CalibrationError) as error:
        calibrate(saved(MODEL, tmp_path), data, Format.FP16, out=tmp_path, progress=Silent())

    assert str(error.value) == (
        f"{data.calibration.batches[0]}: the batch has no array for inputs ['x']; "
        "it has ['c', 'expected.label', 'image']\n"
        "  hint: each batch holds one array an input, under the input's name"
    )


def test_an_empty_batch_is_an_error(tmp_path: Path) -> None:
    data = samples(tmp_path, np.ones((0, 2), np.float32))

    with pytest.raises(CalibrationError, match=r"inputs \['x'\] have no element in this batch$"):
        calibrate(saved(MODEL, tmp_path), data, Format.FP16, out=tmp_path, progress=Silent())
