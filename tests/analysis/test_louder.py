"""Noise that a node hands on stands louder where it keeps the weaker part, and behind an exponential."""

import onnx_ir as ir
import pytest

from pipeline.analysis.comparison.compare import Compared
from pipeline.analysis.verdict.louder import MOST_DB, louder
from pipeline.precision.reducers.differences import Difference

NET = """
<ir_version: 10, opset_import: ["" : 20]>
net (float[2, 4] x, float[4, 4] w) => (float[2, 4] y) {
    h = MatMul(x, w)
    r = Relu(h)
    n = Identity(r)
    s = Sigmoid(n)
    both = Max(h, s)
    y = MatMul(both, w)
}
"""


def powers(**signals):
    found = {name: Compared(kept=Difference(elements=8, signal=signal)) for name, signal in signals.items()}
    return louder(ir.from_onnx_text(NET), found)


def test_what_relu_leaves_out_is_allowed_for_and_handed_on_until_something_rounds():
    found = powers(h=800.0, r=8.0, n=8.0, s=8.0, both=8.0, y=8.0)
    assert found == {"r": pytest.approx(20.0), "n": pytest.approx(20.0)}


def test_a_movement_that_keeps_all_or_amplifies_gets_nothing():
    assert powers(h=8.0, r=8.0, n=16.0) == {"r": 0.0, "n": 0.0}


def test_the_allowance_ends():
    assert powers(h=8e6, r=8.0)["r"] == MOST_DB


@pytest.mark.parametrize("left", [0.0, float("nan"), float("inf")])
def test_where_nothing_finite_is_left_nothing_is_allowed(left):
    assert powers(h=8.0, r=left)["r"] == 0.0


ATTENTION = """
<ir_version: 10, opset_import: ["" : 20]>
core (float[2, 4] q, float[4, 4] k, float[2, 4] mask) => (float[2, 4] p) <float eighth = {0.125}> {
    s = MatMul(q, k)
    t = Mul(s, eighth)
    m = Add(t, mask)
    p = Softmax(m)
}
"""


@pytest.mark.parametrize(("scaled", "allowed"), [(800.0, 20.0), (80.0, 10.0), (8.0, 0.0), (0.8, 0.0)])
def test_behind_a_softmax_the_absolute_error_of_the_scores_counts_and_the_mask_does_not(scaled, allowed):
    signals = {"s": 64 * scaled, "t": scaled, "m": 8e8, "p": 1.0}
    found = {name: Compared(kept=Difference(elements=8, signal=signal)) for name, signal in signals.items()}
    assert louder(ir.from_onnx_text(ATTENTION), found) == {"p": pytest.approx(allowed)}


@pytest.mark.parametrize(("ranked", "allowed"), [("scores", MOST_DB), ("whole", 0.0)])
def test_what_is_taken_by_rank_may_be_another_of_two_that_tie(ranked, allowed):
    model = ir.from_onnx_text(f"""
<ir_version: 10, opset_import: ["" : 20]>
best (float[2, 4] boxes, float[4] scores, int64[4] whole) => (float[2, 1] y)
    <int64[4] t, int64[1] i> {{
    t = ArgMax <axis = 0, keepdims = 1> ({ranked})
    i = Identity(t)
    y = Gather <axis = 1> (boxes, i)
}}
""")
    signals = {"boxes": 8.0, "y": 2.0}
    found = {name: Compared(kept=Difference(elements=round(s), signal=s)) for name, s in signals.items()}
    assert louder(model, found) == {"y": allowed}
