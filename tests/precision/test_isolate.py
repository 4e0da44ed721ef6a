"""What a candidate's nodes make of the reference's tensors."""

import numpy as np
import onnx_ir as ir

from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Fate
from pipeline.precision.reducers.side_by_side import Merged, merge

REFERENCE = """
<ir_version: 10, opset_import: ["" : 20]>
reference (float[2, 3] x) => (float[2, 3] y) {
    [one] a = Add(x, x)
    [two] b = Neg(a)
    [three] y = Abs(b)
}
"""
WRONG_FIRST = REFERENCE.replace("Add(x, x)", "Sub(x, x)")
OTHER_ORDER = """
<ir_version: 10, opset_import: ["" : 20]>
other (float[2, 3] x) => (float[2, 3] y) <float four = {4.0}> {
    [four] s = Mul(x, four)
    [turn] t = Transpose <perm = [1, 0]> (s)
    [two] n = Neg(t)
    [back] u = Transpose <perm = [1, 0]> (n)
    [shrink] v = Div(u, four)
    [three] w = Add(v, v)
    [last] y = Abs(w)
}
"""
X = np.arange(6, dtype=np.float32).reshape(2, 3) - 2


def typed(text: str) -> ir.Model:
    model = ir.from_onnx_text(text)
    for node in model.graph:
        rows = [3, 2] if node.outputs[0].name in ("t", "n") else [2, 3]
        node.outputs[0].dtype, node.outputs[0].shape = ir.DataType.FLOAT, ir.Shape(rows)
    return model


def alone(merged: Merged) -> dict[str, np.ndarray]:
    """What each tensor is alone; tensors that are the reference's own are left out."""
    values = {pair.tensor: pair.alone for pair in merged.pairs if pair.alone is not pair.reference}
    merged.model.graph.outputs.clear()
    merged.model.graph.outputs.extend(value for value in values.values() if value is not None)
    found = list(Session(merged.model)({"x": X}).values()) if values else []
    return dict(zip(values, found, strict=True))


def test_a_model_beside_itself_is_computed_once_more_and_no_more() -> None:
    merged = merge(typed(REFERENCE), typed(REFERENCE), (), alone=True)

    assert all(pair.alone is pair.reference for pair in merged.pairs)
    assert len(merged.model.graph) == 6


def test_an_error_is_its_nodes_alone() -> None:
    merged = merge(typed(REFERENCE), typed(WRONG_FIRST), (), alone=True)

    found = alone(merged)

    assert list(found) == ["a"]
    np.testing.assert_array_equal(found["a"], np.zeros((2, 3)))


def test_scaled_and_turned_tensors_are_fed_scaled_and_turned() -> None:
    fates = [
        Fate(tensor="a", now="t", exponent=1, layout=(1, 0), reason="test"),
        Fate(tensor="b", now="n", exponent=1, layout=(1, 0), reason="test"),
    ]
    merged = merge(typed(REFERENCE), typed(OTHER_ORDER), fates, alone=True)

    found = alone(merged)

    np.testing.assert_array_equal(found["a"], X * 2)
    np.testing.assert_array_equal(found["b"], X * -2)
    np.testing.assert_array_equal(found["y"], np.abs(X * 2))


def test_nothing_is_computed_alone_unless_asked() -> None:
    merged = merge(typed(REFERENCE), typed(WRONG_FIRST), ())

    assert all(pair.alone is None for pair in merged.pairs)
