"""How much of the final error each module makes, on chains small enough to know."""

import math

import numpy as np
import onnx_ir as ir
import pytest

from pipeline.analysis.verdict.contributions import contributions
from pipeline.core.artifacts import Decision, PrecisionPlan
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec
from pipeline.graph import modules

INPUTS = {"x": InputSpec(dtype="float32", axes=("batch", 64))}
CHAIN = """
<ir_version: 10, opset_import: ["" : 20]>
chain (float[batch, 64] x) => (float[batch, 64] y)
<float third = {0.333333}, float tiny = {0.01}, float large = {1000}> {
    [big] a = Mul(x, third)
    [small] b = Mul(x, tiny)
    [smaller] c = Mul(b, third)
    [join] y = Add(a, c)
    [far] unread = Mul(x, large)
}
"""
PARTS = {"big": "loud", "small": "quiet.first", "smaller": "quiet.second", "join": "", "far": "aside"}
FP32 = frozenset({"join"})


def model():
    graph = ir.from_onnx_text(CHAIN)
    for node in graph.graph:
        node.metadata_props[modules.MODULE] = PARTS[node.name]
        node.outputs[0].dtype, node.outputs[0].shape = ir.DataType.FLOAT, ir.Shape(["batch", 64])
    return graph


def plan(kept=FP32):
    decisions = []
    for node in model().graph:
        chosen = Format.FP32 if node.name in kept else Format.FP16
        decisions.append(
            Decision(
                node=node.name,
                op=node.op_type,
                module=PARTS[node.name],
                operands=chosen,
                accumulator=None,
                result=chosen,
                rule="by hand",
                reason="test",
            )
        )
    return PrecisionPlan(model="", policy="by hand", low=Format.FP16, decisions=tuple(decisions))


@pytest.fixture
def batch(tmp_path):
    def write(scale=1.0):
        x = np.random.default_rng(0).uniform(0.5, 1.5, (2, 64)).astype(np.float32) * np.float32(scale)
        np.savez(tmp_path / "batch.npz", x=x)
        return [tmp_path / "batch.npz"]

    return write


def test_the_louder_module_has_the_larger_share(batch):
    found = {item.module: item for item in contributions(model(), plan(), batch(), INPUTS, Silent())}
    assert list(found) == ["", "loud", "quiet", "quiet.first", "quiet.second", "aside"]
    assert found[""].share == 1.0
    assert found["loud"].share > 0.95
    assert 0 < found["quiet"].share < 0.05
    assert found["quiet"].nodes == 2
    assert found["aside"].noise == 0.0, "nothing of it reaches the output"


def test_no_more_runs_than_allowed_and_the_loudest_is_opened_first(batch):
    modules_found = [item.module for item in contributions(model(), plan(), batch(), INPUTS, Silent(), runs=4)]
    assert modules_found == ["", "loud", "quiet", "aside"]
    assert [item.module for item in contributions(model(), plan(), batch(), INPUTS, Silent(), runs=1)] == [""]


def test_a_module_that_alone_makes_infinities_has_all_of_it(batch):
    found = {item.module: item for item in contributions(model(), plan(), batch(1e5), INPUTS, Silent())}
    assert math.isinf(found["loud"].noise)
    assert found["loud"].share == 1.0


def test_nothing_rounds_nothing_contributes(batch):
    assert contributions(model(), plan(frozenset(PARTS)), batch(), INPUTS, Silent()) == ()
