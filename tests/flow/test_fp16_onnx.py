"""A model that arrives as fp16 ONNX and overflows inside: ONNX Runtime's CPU provider alone says that all is well."""

import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

from pipeline.backends.onnxruntime import run
from tests.flow.onnx_engine import spec

MODEL = """
<ir_version: 10, opset_import: ["" : 20]>
hidden_overflow (float[batch, 4] x) => (float[batch, 4] y) {
    c2 = Constant <value_float = 2.0> ()
    c4 = Constant <value_float = 0.25> ()
    [half_two] two = Cast <to = 10> (c2)
    [half_quarter] quarter = Cast <to = 10> (c4)
    [to_half] h = Cast <to = 10> (x)
    [double] a = Mul (h, two)
    [reduce] b = Mul (a, quarter)
    [to_float] y = Cast <to = 1> (b)
}
"""


@pytest.fixture
def clone(tmp_path):
    engine = tmp_path / "engines" / "overflow"
    (engine / "data").mkdir(parents=True)
    (engine / "engine.toml").write_text(spec("overflow", "60000 * 2 * 0.25 in fp16", columns=4, samples=2))
    onnx.save(onnx.parser.parse_model(MODEL), engine / "model.onnx")
    for index in range(4):
        np.savez(engine / "data" / f"{index}.npz", x=np.full((1, 4), 60000.0 - index, np.float32))
    return tmp_path


def test_an_overflow_that_the_cpu_provider_hides_fails_validation(clone):
    path = clone / "engines" / "overflow" / "model.onnx"
    assert run(path, {"x": np.full((1, 4), 60000.0, np.float32)})["y"].tolist() == [[30000.0] * 4]
    environment = {**os.environ, "TRT_PIPELINE_ROOT": str(clone)}
    command = [sys.executable, "-m", "pipeline.cli", "engine", "overflow"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "NOT PASSED" in result.stdout
    assert "layer a (Mul): 8 of 8 elements are infinite" in result.stdout
    assert "NOT SHIPPABLE" in result.stdout
    assert not (clone / "engines" / "overflow" / "build" / "bundle").exists()
