import math

import onnx
import onnx_ir as ir
import pytest

from pipeline.analysis.verdict.floors import expected_sqnr, fp32_floor
from pipeline.core.formats import Format

DIAMOND = """
<ir_version: 10, opset_import: ["" : 20]>
diamond (float[4] x) => (float[4] y) {
    h = Cast <to = 10> (x)
    a = Exp(h)
    b = Neg(h)
    c = Add(a, b)
    y = Cast <to = 1> (c)
    untouched = Exp(x)
}
"""


def test_each_rounding_upstream_counts_once() -> None:
    model = ir.from_proto(onnx.shape_inference.infer_shapes(onnx.parser.parse_model(DIAMOND)))

    expected = expected_sqnr(model)

    one = Format.FP16.limits.rounding_sqnr_db
    roundings = {"h": 1, "a": 2, "b": 1, "c": 3, "y": 3}
    assert {name: expected[name] for name in roundings} == pytest.approx(
        {name: one - 10 * math.log10(count) for name, count in roundings.items()}
    )
    assert expected["untouched"] == math.inf


def test_fp32_leaves_less_with_depth() -> None:
    assert fp32_floor(1) == Format.FP32.limits.rounding_sqnr_db
    assert fp32_floor(100) == pytest.approx(fp32_floor(1) - 20)
