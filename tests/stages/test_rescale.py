"""rescale: a layer that is out of range is brought in by powers of two, or refused with the count."""

import dataclasses
import math

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.core.artifacts import (
    Fate,
    FusionBaseline,
    GpuAtHand,
    Place,
    Provenance,
    Samples,
    SampleSet,
    SourceTree,
)
from pipeline.core.errors import CalibrationError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import AxisRange, BuildSpec, InputSpec, PrecisionSpec, ToleranceSpec
from pipeline.graph import io
from pipeline.precision.rescale import losses
from pipeline.precision.rescale.exponents import Exponents
from pipeline.precision.rewrites.types import infer
from pipeline.stages.build import build
from pipeline.stages.calibrate import calibrate
from pipeline.stages.convert import convert
from pipeline.stages.mark import mark
from pipeline.stages.rescale import rescale
from pipeline.stages.validate import validate
from tests.loud import HIDDEN, LOUD, WIDTH, net, weights

NET = net("Relu")
INPUTS = {"x": InputSpec(dtype="float32", axes=("batch", WIDTH))}
AXES = {"batch": AxisRange(min=1, opt=8, max=64)}
REAL = Provenance(source="test", digest="0" * 64, licence="MIT", real=True)


class Heard(Silent):
    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


class Line:
    """The stages from calibrate to validate on one small net with planted weights."""

    def __init__(self, folder, spec=None, change=None, text=NET):
        random = np.random.default_rng(0)
        planted = weights(random)
        if change is not None:
            change(planted)
        tensors = [ir.tensor(a.astype(np.float32), name=name) for name, a in planted.items() if f"{name}" in text]
        model = ir.from_onnx_text(text, initializers=tensors)
        infer(model)
        self.folder, self.spec, self.heard = folder, spec or PrecisionSpec(), Heard()
        self.tree = SourceTree(folder=folder, digest="0" * 64)
        self.reference = io.describe(model, io.save(model, self.out("reference")), provenance=REAL)
        files = tuple(folder / f"{index}.npz" for index in range(3))
        for file in files:
            np.savez(file, x=random.normal(0, 1, (64, WIDTH)).astype(np.float32))
        calibration = SampleSet(batches=files[:2], samples=128, source="test", licence="MIT")
        validation = SampleSet(batches=files[2:], samples=64, source="test", licence="MIT")
        self.samples = Samples(calibration=calibration, validation=validation)
        low = self.spec.low
        self.ranges = calibrate(self.reference, self.samples, low, out=self.out("calibrate"), progress=Silent())
        self.rescaled = self.rescale()

    def out(self, name):
        path = self.folder / name
        path.mkdir()
        return path

    def rescale(self, name="rescale"):
        return rescale(
            self.reference, self.ranges, self.samples, self.spec, self.tree, out=self.out(name), progress=self.heard
        )

    def plan(self):
        model = self.rescaled.model or self.reference
        ranges = self.rescaled.ranges or self.ranges
        self.baseline = FusionBaseline(attentions=0, reason="none")
        given = {"inputs": INPUTS, "axes": AXES, "targets": ("8.9",)}
        return mark(
            model, ranges, self.baseline, self.spec, self.tree, **given, out=self.out("mark"), progress=Silent()
        )


def decisions(plan):
    return {item.node: item for item in plan.decisions}


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    return Line(tmp_path_factory.mktemp("line"))


def test_an_overflowing_layer_is_held_by_channel_at_the_smallest_exponent_that_fits(line):
    (layer,) = line.rescaled.layers
    assert (layer.node, layer.tensor, layer.place, layer.refused) == ("up", "h", Place.WEIGHTS, None)
    assert layer.channels == HIDDEN // 2, "channels that fit are left alone"
    assert (layer.held, layer.undone, layer.added) == (("h", "hb", "a"), ("bias", "down"), ())
    assert (layer.subnormal_weights, layer.subnormal_activations) == (0, 0)
    usable = 65504 / 4
    assert line.ranges.tensors["h"].magnitude > usable
    assert usable / 2 < line.rescaled.ranges.tensors["h"].magnitude <= usable


def test_it_is_proven_equal_in_fp32(line):
    assert line.rescaled.equality.passed
    assert line.rescaled.equality.summary == (
        "6 of 6 tensors equal to the last bit, un-scaled, on 2 calibration batches; 0 not compared"
    )


def test_ranges_are_those_of_the_rescaled_model(line):
    ranges = line.rescaled.ranges
    assert ranges.model == io.model_digest(line.rescaled.model)
    assert ranges.tensors["y"] == line.ranges.tensors["y"]
    assert ranges.tensors["hb"].overflow == 0 < line.ranges.tensors["hb"].overflow


def test_from_overflow_to_a_plan_that_keeps_the_fp16_product(line):
    plan = line.plan()
    up = decisions(plan)["up"]
    assert (up.operands, up.accumulator, up.result) == (Format.FP16, Format.FP32, Format.FP16)
    assert (
        f"held times 2^{line.rescaled.layers[0].exponent} or less (64 channels), folded into its weights" in up.reason
    )
    assert "its operands are rescaled: constant 1 holds it times 2^0 to 2^" in decisions(plan)["down"].reason
    mixed = convert(line.reference, line.rescaled, plan, out=line.out("convert"), progress=Silent())
    assert {fate.tensor for fate in mixed.fates} >= {"h", "hb", "a"}
    assert [check.name for check in mixed.checks] == ["rescaled", "equal in fp32"]
    plans = build(
        mixed,
        plan,
        line.baseline,
        INPUTS,
        AXES,
        BuildSpec(targets=("8.9",), workspace_mib=64),
        out=line.out("build"),
        progress=Silent(),
    )
    (built,) = plans.plans
    assert {check.name: check.passed for check in built.checks} == {"parsed": True, "built": True, "fusion": True}
    products = [kernel for kernel in built.text.kernels if {"up", "down"} & set(kernel.nodes) and kernel.operands]
    assert products
    assert all(kernel.operands == ("half",) for kernel in products)
    report = validate(
        engine="net",
        exported=line.reference,
        reference=line.reference,
        decided=line.rescaled.model,
        mixed=mixed,
        plan=plan,
        plans=plans,
        samples=line.samples,
        inputs=INPUTS,
        task=None,
        tolerances=ToleranceSpec(),
        gpu=GpuAtHand(),
        out=line.out("validate"),
        progress=Silent(),
    )
    assert report.failures == ()
    assert [check.name for check in report.made] == ["rescaled", "equal in fp32"]
    sqnr = {layer.tensor: layer.stats.sqnr_db for layer in report.layers}
    assert min(sqnr["h"], sqnr["hb"], sqnr["a"]) > 60, "compared un-scaled"
    (whole,) = report.contributions
    assert (whole.module, whole.share) == ("", 1.0)
    assert -10 * math.log10(whole.noise) == pytest.approx(report.outputs[0].stats.sqnr_db, abs=3), "rounding all of it"


def test_without_rescaling_the_product_is_fp32(tmp_path):
    line = Line(tmp_path)
    line.rescaled = dataclasses.replace(line.rescaled, model=None, ranges=None, equality=None, layers=())
    assert decisions(line.plan())["up"].operands is Format.FP32


def test_where_nothing_overflows_nothing_is_written(tmp_path):
    def quiet(weights):
        weights["w_up"][:, HIDDEN // 2 :] /= LOUD
        weights["b_up"][HIDDEN // 2 :] /= LOUD

    line = Line(tmp_path, change=quiet)
    assert (line.rescaled.model, line.rescaled.layers) == (None, ())
    assert list((tmp_path / "rescale").iterdir()) == []


def tiny(weights):
    """Three weights of one loud channel that fp16 holds just above its subnormal numbers."""
    weights["w_up"][:3, -1] = 7e-5


def test_what_would_become_subnormal_wherever_the_scale_is_put_is_refused_with_the_least_count(tmp_path):
    line = Line(tmp_path, change=tiny)
    up, down = line.rescaled.layers
    assert up.refused == (
        f"2^{up.exponent} in weights would make 3 of 8192 elements of w_up subnormal in fp16 (0.00037); "
        "precision.rescale_share allows 0"
    )
    assert line.heard.warnings == [f"up stays out of range: {up.refused}"]
    assert (down.node, down.place, down.refused) == ("down", Place.OPERAND, None), "what follows can still be mended"


def test_weights_that_become_subnormal_are_counted():
    value = ir.val("w", const_value=ir.tensor(np.array([0, 1, 7e-5, -6.2e-5, 1e-6, 40000], np.float32), name="w"))
    down = losses.of_constant(value, [Exponents(values=(-1,))], Format.FP16)
    assert (down.nonzero, down.subnormal, down.overflow) == (5, 2, 0), "1e-6 was subnormal before"
    up = losses.of_constant(value, [Exponents(values=(1,))], Format.FP16)
    assert (up.subnormal, up.overflow) == (0, 1)


def test_what_the_user_allows_is_lost_and_told(tmp_path):
    line = Line(tmp_path, PrecisionSpec(rescale_share=0.001), change=tiny)
    (layer,) = line.rescaled.layers
    assert (layer.refused, layer.subnormal_weights) == (None, 3)
    assert line.rescaled.equality.passed, "subnormal in fp16 is not in fp32"


def test_what_a_user_keeps_in_fp32_needs_no_rescaling(tmp_path):
    line = Line(tmp_path, PrecisionSpec(fp32=("up", "down")))
    assert line.rescaled.layers == ()


def test_an_activation_that_overflows_behind_a_gelu_is_scaled_before_its_reader(tmp_path):
    line = Line(tmp_path, text=NET.replace("Relu", "Gelu"))
    up, down = line.rescaled.layers
    assert (up.node, up.place, up.added) == ("up", Place.WEIGHTS, ("hb::restored",))
    assert (down.node, down.tensor, down.place, down.added) == ("down", "a", Place.OPERAND, ("a::rescaled",))
    assert (up.refused, down.refused) == (None, None)
    assert line.rescaled.equality.passed
    found = decisions(line.plan())
    assert (found["up"].operands, found["down"].operands) == (Format.FP16, Format.FP16)
    assert found["act"].operands is Format.FP32


def test_ranges_of_another_model_are_refused(line):
    line_ranges, line.ranges = line.ranges, dataclasses.replace(line.ranges, model="f" * 64)
    with pytest.raises(CalibrationError) as caught:
        line.rescale("again")
    line.ranges = line_ranges
    assert str(caught.value) == "ranges were observed on another model\n  hint: run calibrate on this model"


def test_a_fate_cannot_lie_along_an_axis_counted_from_the_front():
    with pytest.raises(ValueError, match="the axis of exponents is counted from the end, got 1 for x"):
        Fate(tensor="x", now="x", exponents=(1, 2), axis=1)
