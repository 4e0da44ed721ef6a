"""Noise that a Relu or a Slice hands on stands louder where what they keep is weaker."""

import onnx_ir as ir
import pytest

from pipeline.analysis.compare import Compared
from pipeline.analysis.selection import MOST_DB, weakened
from pipeline.precision.differences import Difference

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
    return weakened(ir.from_onnx_text(NET), found)


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
