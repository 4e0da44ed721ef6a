"""Delta debugging, the switched graph, and a planted overflow."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.bisection.bisect import bisect
from pipeline.analysis.bisection.delta import drop, minimise
from pipeline.analysis.bisection.regions import regions
from pipeline.analysis.bisection.trials import Case
from pipeline.analysis.observe import observe
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import PrecisionPlan, Provenance, Samples, SampleSet
from pipeline.core.errors import ValidationError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec, ToleranceSpec
from pipeline.graph import io
from pipeline.precision import casts
from pipeline.precision.emulation.emulate import emulate
from pipeline.precision.emulation.switch import FLAGS, returned, switched
from pipeline.precision.policy import policies

PLANTED = """
<ir_version: 10, opset_import: ["" : 20]>
planted (float[batch, 4] x) => (float[batch, 4] y) {
    big = Constant <value = float {400000.0}> ()
    small = Constant <value = float {0.0000025}> ()
    half = Constant <value = float {0.5}> ()
    [before] a = Mul(x, half)
    [overflows] b = Mul(a, big)
    [reads_it] c = Relu(b)
    [shrinks] d = Mul(c, small)
    [after] e = Add(d, half)
    [last] y = LayerNormalization <axis = -1> (e, gain)
}
"""
PLACE = Provenance(source="test", digest="", licence="MIT", real=True)


def planted():
    model = ir.from_onnx_text(PLANTED)
    gain = ir.val("gain", const_value=ir.tensor(np.ones(4, np.float32), name="gain"))
    model.graph.register_initializer(gain)
    node = next(node for node in model.graph if node.name == "last")
    node.replace_input_with(1, gain)
    for index, node in enumerate(model.graph):
        node.name = node.name or f"constant_{index}"
        node.outputs[0].dtype = ir.DataType.FLOAT
        if not node.name.startswith("constant"):
            node.outputs[0].shape = ir.Shape(["batch", 4])
    return model


def case(folder, model, decisions=None, tolerances=None):
    path = io.save(model, folder)
    record = io.describe(model, path, provenance=PLACE)
    random = np.random.default_rng(0)
    np.savez(folder / "batch.npz", x=random.uniform(1, 2, (3, 4)).astype(np.float32))
    batch = SampleSet(batches=(folder / "batch.npz",), samples=3, source="random", licence="CC0-1.0")
    plan = PrecisionPlan(
        model="", policy="all-fp16", low=Format.FP16, decisions=decisions or policies.uniform(model, Format.FP16)
    )
    return Case(
        exported=record,
        reference=record,
        plan=plan,
        ranges=observe(path, batch.batches, Format.FP16, Silent())[0],
        samples=Samples(calibration=batch, validation=batch),
        inputs={"x": InputSpec(dtype="float32", axes=("batch", 4))},
        task=None,
        tolerances=tolerances or ToleranceSpec(),
    )


ALTERNATIVES = st.lists(st.sets(st.integers(0, 19), min_size=1, max_size=4), min_size=1, max_size=3)
"""Passes where any one of several sets is complete: neither monotone searches nor luck find these."""


def question(needed):
    asked = []

    def passes(items):
        asked.append(tuple(items))
        return any(want <= set(items) for want in needed)

    return passes, asked


@given(needed=ALTERNATIVES)
def test_what_is_found_passes_and_nothing_can_be_left_out(needed):
    passes, _ = question(needed)
    found = minimise(range(20), passes)
    assert passes(found)
    assert not any(passes([item for item in found if item != one]) for one in found)


@given(needed=ALTERNATIVES, together=st.integers(1, 20))
def test_what_is_left_passes_and_nothing_can_be_left_out(needed, together):
    passes, _ = question(needed)
    left = drop(range(20), passes, together=together)
    assert passes(left)
    assert not any(passes([item for item in left if item != one]) for one in left)


def test_neighbours_are_left_out_together():
    passes, asked = question([{3}])
    assert drop(range(64), passes, together=32) == (3,)
    assert len(asked) < 16


def test_regions_are_a_partition_in_graph_order():
    nodes = list(planted().graph)
    found = regions(nodes)
    assert sorted(str(node.name) for region in found for node in region) == sorted(str(node.name) for node in nodes)
    assert max(map(len, found)) <= 4


@settings(max_examples=25, deadline=None)
@given(flags=st.lists(st.booleans(), min_size=9, max_size=9))
def test_each_setting_of_the_flags_is_the_emulation_of_its_plan(flags):
    decisions = policies.uniform(planted(), Format.FP16)
    switch = switched(planted(), decisions)
    assert len(switch.nodes) == 9
    back = {name for name, flag in zip(switch.nodes, flags, strict=True) if flag}
    mixed = planted()
    casts.apply(mixed, [returned(item) if item.node in back else item for item in decisions])
    x = np.array([[1.1, 0.3, 2.7, 0.0001]], np.float32)
    ours = Session(switch.model, as_written=True)({"x": x, FLAGS: np.array(flags)})["y"]
    theirs = Session(emulate(mixed), as_written=True)({"x": x})["y"]
    assert np.array_equal(ours, theirs, equal_nan=True)


def test_a_planted_overflow_is_found_with_the_consumer_that_would_overflow_again(tmp_path):
    found = bisect(case(tmp_path, planted()), Silent())
    names = [item.node for item in found.returned]
    assert not found.before.passed
    assert found.after.passed
    assert {"overflows", "reads_it", "shrinks"} <= set(names)
    assert "before" not in names
    assert "last" not in names
    by_name = {item.node: item for item in found.returned}
    assert by_name["reads_it"].along == ("overflows",)
    assert "beyond 65504: 12 of 12 values" in by_name["overflows"].reason


def test_what_passes_is_left_alone(tmp_path):
    model = planted()
    found = bisect(case(tmp_path, model, policies.uniform(model, Format.FP32)), Silent())
    assert found.before.passed
    assert found.returned == ()


def test_what_fails_in_fp32_too_is_an_error(tmp_path):
    (tmp_path / "other").mkdir()
    asked = case(tmp_path, planted())
    other = planted()
    next(node for node in other.graph if node.name == "reads_it").op_type = "Neg"
    wrong = case(tmp_path / "other", other)
    mixed_up = Case(**{**{name: getattr(asked, name) for name in Case.__slots__}, "reference": wrong.reference})
    with pytest.raises(ValidationError, match="it fails with every node in fp32 too: output y: SQNR"):
        bisect(mixed_up, Silent())
