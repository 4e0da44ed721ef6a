"""The verdict on small graphs: what passes, what fails, and what it says."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.core.artifacts import (
    Decision,
    EnginePlan,
    EnginePlans,
    Fate,
    GpuAtHand,
    OnnxModel,
    Origin,
    PrecisionPlan,
    Provenance,
    Samples,
    SampleSet,
    ValidationReport,
)
from pipeline.core.errors import ValidationError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec, ToleranceSpec
from pipeline.graph import infer, io
from pipeline.precision import casts
from pipeline.stages.validate import validate

PROVENANCE = Provenance(source="test", digest="0" * 64, licence="CC0-1.0", real=True)
INPUTS = {
    "x": InputSpec(dtype="float32", axes=("batch", "sequence")),
    "mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}
SCALED = """
<ir_version: 10, opset_import: ["" : 20]>
scaled (float[batch, sequence] x, int64[batch, sequence] mask) => (float[batch, sequence] y) {
    [double] a = Add(x, x)
    [root] b = Abs(a)
    [half] y = Sub(b, x)
}
"""


def saved(model: ir.Model, folder: Path) -> OnnxModel:
    folder.mkdir()
    return io.describe(model, io.save(model, folder), provenance=PROVENANCE)


def model(text: str = SCALED) -> ir.Model:
    parsed = ir.from_onnx_text(text)
    infer.infer(parsed)
    return parsed


def decisions(parsed: ir.Model, low: Format) -> tuple[Decision, ...]:
    return tuple(
        Decision(node=str(n.name), op=n.op_type, module="", operands=low, result=low, rule="test", reason="test")
        for n in parsed.graph
    )


def plans(folder: Path) -> EnginePlans:
    plan = EnginePlan(
        path=folder / "none.plan",
        log=folder / "none.log",
        flavour="tensorrt-rtx",
        version="1.7",
        targets=("8.9",),
        digest="0" * 64,
        size=1,
        flags=(),
        tf32=False,
        workspace_mib=1,
        profiles={},
        text=None,
        checks=(),
        warnings=(),
        seconds=0.0,
    )
    return EnginePlans(plans=(plan,))


def samples(folder: Path, x: np.ndarray, mask: np.ndarray) -> Samples:
    path = folder / "batch_0000.npz"
    np.savez(path, x=x.astype(np.float32), mask=mask.astype(np.int64))
    found = SampleSet(batches=(path,), samples=len(x), source="test", licence="CC0-1.0")
    return Samples(calibration=found, validation=found)


def verdict(
    folder: Path,
    x: np.ndarray,
    mask: np.ndarray | None = None,
    *,
    text: str = SCALED,
    low: Format = Format.FP16,
    change: OnnxModel | None = None,
    fates: tuple[Fate, ...] = (),
) -> ValidationReport:
    reference = saved(model(text), folder / "reference")
    parsed = io.load(reference.path)
    chosen = decisions(parsed, low)
    casts.apply(parsed, chosen)
    mixed = change or saved(parsed, folder / "mixed")
    plan = PrecisionPlan(model=io.model_digest(reference), policy="test", low=Format.FP16, decisions=chosen)
    return validate(
        "test",
        reference,
        reference,
        reference,
        replace(mixed, fates=fates),
        plan,
        plans(folder),
        samples(folder, x, np.ones_like(x) if mask is None else mask),
        INPUTS,
        None,
        ToleranceSpec(),
        GpuAtHand(),
        out=folder,
        progress=Silent(),
    )


ONES = np.linspace(0.5, 1.5, 12).reshape(3, 4)


def test_a_faithful_graph_passes_and_lists_every_layer(tmp_path: Path) -> None:
    report = verdict(tmp_path, ONES)

    assert report.passed
    assert report.failures == ()
    assert [layer.tensor for layer in report.layers] == ["a", "b", "y"]
    assert all(layer.stats is not None and layer.stats.elements == 12 for layer in report.layers)
    assert [layer.result for layer in report.layers] == [Format.FP16, Format.FP16, Format.FP32]
    assert [(item.name, item.origin, item.passed) for item in report.outputs] == [("y", Origin.EMULATED, True)]
    assert report.canonical["y"].max_abs == 0.0
    assert report.samples == 3


def test_a_graph_that_rounds_nowhere_is_equal(tmp_path: Path) -> None:
    report = verdict(tmp_path, ONES, low=Format.FP32)

    assert report.passed
    assert all(layer.stats is not None and layer.stats.sqnr_db == np.inf for layer in report.layers)
    assert all(layer.floor_db is None for layer in report.layers)


@pytest.mark.parametrize("position", [0, 5, 11])
def test_an_overflow_anywhere_fails_and_names_the_first_layer(tmp_path: Path, position: int) -> None:
    x = ONES.copy()
    x.flat[position] = 40000

    report = verdict(tmp_path, x)

    assert not report.passed
    assert report.failures[0] == (
        "layer a (Add): 1 of 12 elements are infinite where their reference is not: "
        "beyond 65504 in fp16, or made from such"
    )
    assert [layer.bad for layer in report.layers] == [True, True, True]


@pytest.mark.parametrize("position", [0, 5, 11])
def test_nan_fails_even_where_both_have_it(tmp_path: Path, position: int) -> None:
    x = ONES.copy()
    x.flat[position] = np.nan

    report = verdict(tmp_path, x)

    assert not report.passed
    assert report.failures[0] == "layer a (Add): 1 of 12 elements are NaN in both"
    assert report.outputs[0].reason.startswith("1 elements are NaN or infinite and not alike in both")


def test_padding_is_left_out_and_both_figures_kept(tmp_path: Path) -> None:
    x, mask = ONES.copy(), np.ones_like(ONES)
    x[0, 3], mask[0, 3] = 60000, 0

    report = verdict(tmp_path, x, mask)

    assert report.passed
    first = report.layers[0]
    assert first.stats is not None
    assert first.stats_all is not None
    assert (first.stats.elements, first.stats_all.elements) == (11, 12)
    assert (first.stats.inf_candidate, first.stats_all.inf_candidate) == (0, 1)


def test_a_gone_tensor_is_named_with_its_reason(tmp_path: Path) -> None:
    report = verdict(tmp_path, ONES, fates=(Fate(tensor="b", now=None, reason="fused away"),))

    assert [(layer.tensor, layer.stats is None, layer.reason) for layer in report.layers][1] == (
        "b",
        True,
        "fused away",
    )
    assert report.passed


def test_a_tensor_that_vanished_without_a_fate_is_an_error(tmp_path: Path) -> None:
    renamed = model(SCALED.replace("b =", "other =").replace("Sub(b", "Sub(other"))

    with pytest.raises(ValidationError) as error:
        verdict(tmp_path, ONES, change=saved(renamed, tmp_path / "renamed"))

    assert str(error.value) == "tensor b: the mixed graph has no tensor b, and no fate says what became of it"


def test_a_wrong_graph_fails_though_nothing_rounds(tmp_path: Path) -> None:
    wrong = model(SCALED.replace("Sub(b, x)", "Add(b, x)"))

    report = verdict(tmp_path, ONES, change=saved(wrong, tmp_path / "wrong"))

    assert [layer.bad for layer in report.layers] == [False, False, True]
    assert report.failures[0].startswith("layer y (Sub): nothing upstream rounds, and yet SQNR ")
    assert not report.outputs[0].passed


def test_a_machine_without_a_gpu_says_what_was_not_run(tmp_path: Path) -> None:
    report = verdict(tmp_path, ONES)

    if not any(item.origin is Origin.ENGINE for item in report.outputs):
        assert len(report.not_run) == 1
        assert report.not_run[0].startswith("engine: ")


CONVOLVED = """
<ir_version: 10, opset_import: ["" : 20]>
convolved (float[batch, sequence] x, int64[batch, sequence] mask) => (float[batch, sequence] y)
    <int64[1] one = {1}, float[1, 1, 1] w = {0.5}> {
    [lift] a = Unsqueeze(x, one)
    [conv] b = Conv(a, w)
    [drop] y = Squeeze(b, one)
}
"""


@pytest.mark.parametrize(("low", "told"), [(Format.FP16, True), (Format.FP32, False)])
def test_convolutions_whose_sums_no_emulation_rounds_are_named(tmp_path: Path, low: Format, told: bool) -> None:
    report = verdict(tmp_path, ONES, text=CONVOLVED, low=low)

    line = (
        "1 convolutions with sums in fp16: TensorRT takes their accumulator itself, "
        "and they are emulated with fp32 sums only"
    )
    assert (line in report.not_run) is told


def test_the_report_names_the_cause_and_what_would_mend_it(tmp_path: Path) -> None:
    x = ONES.copy()
    x[1, 1] = 40000

    report = verdict(tmp_path, x)

    assert [cause.nodes for cause in report.causes] == [("double",)]
    assert report.causes[0].why == "overflowed: 1 of 12 of its values are beyond 65504, the largest 8e+04"
    assert report.causes[0].mend == "keep double, root, half in fp32 (precision.fp32); costs no more Casts"
    assert report.layers[2].why == "inherits 1 infinity from b; it begins at a (Add)"


def test_a_report_that_passes_has_no_causes_and_all_injected_errors(tmp_path: Path) -> None:
    report = verdict(tmp_path, ONES)

    assert report.causes == ()
    assert all(layer.injected is not None and layer.why is None for layer in report.layers)


@pytest.mark.parametrize("layer", ["a", "b", "y"])
@pytest.mark.parametrize("position", [0, 5, 11])
def test_nan_planted_in_any_layer_fails(tmp_path: Path, layer: str, position: int) -> None:
    planted = model()
    node = next(node for node in planted.graph if node.outputs[0].name == layer)
    _plant_nan(planted.graph, node, position)

    report = verdict(tmp_path, ONES, change=saved(planted, tmp_path / "planted"))

    assert not report.passed
    bad = next(item for item in report.layers if item.bad)
    assert (bad.tensor, bad.reason) == (layer, "1 of 12 elements are NaN where its reference has none")
    assert report.causes[0].tensor == layer


def _plant_nan(graph: ir.Graph, node: ir.Node, position: int) -> None:
    """Add zeros to the result of `node`, and NaN to one element of it."""
    result, name = node.outputs[0], str(node.outputs[0].name)
    poison = np.zeros(12, np.float32)
    poison[position] = np.nan
    graph.register_initializer(ir.val("poison", const_value=ir.tensor(poison.reshape(3, 4), name="poison")))
    added = ir.node("Add", [result, graph.initializers["poison"]], name="plant")
    result.replace_all_uses_with(added.outputs[0], replace_graph_outputs=True)
    added.replace_input_with(0, result)
    result.name, added.outputs[0].name = f"{name}::sane", name
    added.outputs[0].dtype, added.outputs[0].shape = ir.DataType.FLOAT, ir.Shape(["batch", "sequence"])
    graph.insert_after(node, added)


HIDDEN = """
<ir_version: 10, opset_import: ["" : 20]>
hidden (float[batch, sequence] x, int64[batch, sequence] mask) => (float[batch, sequence] y)
<float two = {2.0}, float quarter = {0.25}> {
    [double] a = Mul(x, two)
    [quarter] y = Mul(a, quarter)
}
"""


def test_an_overflow_that_the_runtime_alone_would_hide_fails(tmp_path: Path) -> None:
    report = verdict(tmp_path, np.full((3, 4), 60000.0), text=HIDDEN)

    assert not report.passed
    assert [layer.bad for layer in report.layers] == [True, True]
    assert report.outputs[0].stats.inf_candidate == 12
    assert report.causes[0].nodes == ("double",)


@pytest.mark.parametrize(("scale", "told"), [(1.0, False), (1e5, True)])
def test_a_graph_that_fails_already_is_not_emulated_with_low_sums(tmp_path: Path, scale: float, told: bool) -> None:
    product = """
    <ir_version: 10, opset_import: ["" : 20]>
    product (float[batch, sequence] x, int64[batch, sequence] mask) => (float[batch, 2] y)
        <float[2, 2] w = {1, 0, 0, 1}> { [product] y = MatMul(x, w) }
    """

    report = verdict(tmp_path, np.full((2, 2), scale), text=product)

    line = "emulated, accumulating in fp16: it fails as 'emulated' already"
    assert (line in report.not_run) is told
    assert report.passed is not told
