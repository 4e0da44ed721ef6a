"""compensate: the mean error of rounding leaves through the biases, judged on batches that did not measure it."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from pipeline.core.artifacts import Fate, Provenance, Samples, SampleSet
from pipeline.core.errors import CalibrationError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec
from pipeline.graph import io
from pipeline.precision import casts
from pipeline.precision.biases import exponents, unscaled
from pipeline.precision.policy import policies
from pipeline.precision.rewrites.types import infer
from pipeline.stages.compensate import compensate

WIDTH = 16
NET = f"""
<ir_version: 10, opset_import: ["" : 20]>
net (float[batch, sequence, {WIDTH}] x, int64[batch, sequence] mask) => (float[batch, sequence, {WIDTH}] y) {{
    [product] h = MatMul(x, w)
    [bias] y = Add(h, b)
}}"""
BARE = f"""
<ir_version: 10, opset_import: ["" : 20]>
net (float[batch, sequence, {WIDTH}] x, int64[batch, sequence] mask) => (float[batch, sequence, {WIDTH}] y) {{
    [product] y = MatMul(x, w)
}}"""
CONVOLVED = """
<ir_version: 10, opset_import: ["" : 20]>
net (float[batch, 3, 8, 8] x) => (float[batch, 4, 6, 6] y) {
    [product] y = Conv(x, k)
}"""
INPUTS = {
    "x": InputSpec(dtype="float32", axes=("batch", "sequence", WIDTH)),
    "mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}
REAL = Provenance(source="test", digest="0" * 64, licence="MIT", real=True)


def batch(random, index, offset, masked):
    if masked is None:
        return {"x": (random.normal(0, 1, (4, 3, 8, 8)) + offset).astype(np.float32)}
    x = (random.normal(0, 1, (8, 32, WIDTH)) + offset).astype(np.float32)
    mask = np.ones((8, 32), np.int64)
    if masked:
        mask[:, 16:], x[:, 16:] = 0, -40.0 - index
    return {"x": x, "mask": mask}


def line(folder, text=NET, *, offset=8.0, masked=False, count=4, shift=0.0):
    """The record and the models; operands have a mean, so that rounded weights make an error with a mean.

    Args:
        shift: Added to the operands of the batch that is held out.
    """
    random = np.random.default_rng(0)
    weights = {
        "w": random.normal(0, 0.2, (WIDTH, WIDTH)),
        "b": random.normal(0, 0.01, WIDTH),
        "k": random.normal(0, 0.2, (4, 3, 3, 3)),
    }
    tensors = [
        ir.tensor(array.astype(np.float32), name=name) for name, array in weights.items() if f", {name})" in text
    ]
    model = ir.from_onnx_text(text, initializers=tensors)
    infer(model)
    for name in ("reference", "mixed", "out"):
        (folder / name).mkdir()
    reference = io.describe(model, io.save(model, folder / "reference"), provenance=REAL)
    casts.apply(model, policies.uniform(model, Format.FP16))
    mixed = io.describe(model, io.save(model, folder / "mixed"), provenance=REAL)
    files = tuple(folder / f"{index}.npz" for index in range(count))
    for index, file in enumerate(files):
        own = shift if index == count - 1 else offset
        np.savez(file, **batch(random, index, own if shift else offset, None if text is CONVOLVED else masked))
    samples = SampleSet(batches=files, samples=8 * count, source="test", licence="MIT")
    found = compensate(
        reference,
        mixed,
        Samples(calibration=samples, validation=samples),
        {} if text is CONVOLVED else INPUTS,
        out=folder / "out",
        progress=Silent(),
    )
    return found, reference, mixed


def test_a_layer_with_a_mean_error_gains_by_itself_and_at_the_output(tmp_path):
    found, _, mixed = line(tmp_path)
    (layer,) = found.layers
    assert (layer.node, layer.tensor, layer.adder, layer.refused) == ("product", "y", "bias", None)
    assert layer.after_db > layer.before_db
    (gain,) = found.outputs
    assert gain.after_db > gain.before_db
    assert found.refused is None
    assert found.samples == 8
    before, after = (io.load(item.path).graph.initializers["b"] for item in (mixed, found.model))
    assert before.dtype == after.dtype == ir.DataType.FLOAT16
    assert (before.const_value.numpy() != after.const_value.numpy()).any()
    assert found.model.checks[-1].summary == (
        f"mean error taken out of 1 of 1 linear layers: y {gain.before_db:.2f} → {gain.after_db:.2f} dB "
        "on 8 held-out samples"
    )


def test_nothing_but_the_bias_changes(tmp_path):
    found, _, mixed = line(tmp_path)
    one, other = io.load(mixed.path).graph, io.load(found.model.path).graph
    assert [node.name for node in one] == [node.name for node in other]
    np.testing.assert_array_equal(
        one.initializers["w"].const_value.numpy(), other.initializers["w"].const_value.numpy()
    )
    assert (found.model.inputs, found.model.outputs, found.model.fates) == (mixed.inputs, mixed.outputs, mixed.fates)
    onnx.checker.check_model(found.model.path, full_check=True)


def test_a_correction_that_does_not_carry_over_to_held_out_samples_is_refused_and_the_model_stays(tmp_path):
    found, _, mixed = line(tmp_path, shift=-8.0)
    (layer,) = found.layers
    assert layer.refused == (
        f"on held-out samples its SQNR is {layer.after_db:.2f} dB with the correction, {layer.before_db:.2f} dB "
        "without; 0.1 dB is asked"
    )
    assert found.refused == "none of 1 layers is nearer to fp32 with its correction"
    assert io.model_digest(found.model) == io.model_digest(mixed)
    assert found.model.checks[-1].summary == f"no bias was changed: {found.refused}"


def test_padding_neither_measures_nor_judges(tmp_path):
    (tmp_path / "padded").mkdir()
    (tmp_path / "plain").mkdir()
    padded, _, _ = line(tmp_path / "padded", masked=True)
    assert padded.refused is None
    assert padded.outputs[0].after_db > padded.outputs[0].before_db


def test_no_add_is_made_behind_a_product_that_has_none(tmp_path):
    found, _, _ = line(tmp_path, BARE)
    assert found.layers == ()
    assert found.refused == "no linear layer with rounded weights has a bias"


def test_a_convolution_takes_the_correction_in_its_own_bias(tmp_path):
    found, _, mixed = line(tmp_path, CONVOLVED)
    (layer,) = found.layers
    assert (layer.node, layer.adder, layer.refused) == ("product", "product", None)
    nodes = {str(node.name): node for node in io.load(found.model.path).graph}
    assert len(nodes) == len(list(io.load(mixed.path).graph)), "no node is added"
    assert [value.dtype for value in nodes["product"].inputs] == [ir.DataType.FLOAT16] * 3
    onnx.checker.check_model(found.model.path, full_check=True)


def test_one_batch_cannot_be_held_out(tmp_path):
    with pytest.raises(CalibrationError) as caught:
        line(tmp_path, count=1)
    assert str(caught.value) == (
        f"{tmp_path}/0.npz: error compensation needs at least two calibration batches: one is held out\n"
        "  hint: raise calibration.samples, or lower calibration.batch"
    )


def test_a_correction_goes_into_the_scale_in_which_a_layer_is_held():
    fate = Fate(tensor="y", now="y", exponent=-1, exponents=(0, -2), axis=-1)
    assert exponents(fate, 2).tolist() == [-1, -3]
    assert unscaled(np.array([1.0, 1.0]), fate).tolist() == [2.0, 8.0]
    assert exponents(None, 2).tolist() == [0, 0]
