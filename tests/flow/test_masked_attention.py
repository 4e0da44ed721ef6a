"""An attention that no calibration sample masked, searched, built and validated: masked rows are the model's own."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

from pipeline.backends import plan_text
from pipeline.backends.onnxruntime import Session

SPEC = """
description = "one attention, whose mask fp16 cannot hold"

[model]
source = "onnx"
weights = { path = "engines/masked/model.onnx", licence = "CC0-1.0" }

[inputs.x]
dtype = "float32"
axes = ["batch", "sequence", 32]
range = [-4, 4]

[inputs.mask]
dtype = "int64"
axes = ["batch", "sequence"]
masks = ["sequence"]

[axes]
batch = { min = 1, opt = 2, max = 4 }
sequence = { min = 4, opt = 8, max = 16 }

[calibration]
samples = 4
batch = 2
validate_samples = 2
data = { reader = "npz", path = "engines/masked/data", licence = "CC0-1.0" }

[build]
targets = ["8.9"]
"""

MODEL = """
<ir_version: 10, opset_import: ["" : 20]>
masked (float[batch, sequence, 32] x, int64[batch, sequence] mask) => (float[batch, sequence, 32] y)
    <float one = {1}, float lowest = {-3.4028234663852886e38}, int64[2] rows = {1, 2}, float scale = {0.25},
     int64[4] heads = {0, 0, 2, 16}, int64[3] merged = {0, 0, 32}> {
    [query] q = MatMul(x, wq)
    [key] k = MatMul(x, wk)
    [value] v = MatMul(x, wv)
    [query_heads] q4 = Reshape(q, heads)
    [key_heads] k4 = Reshape(k, heads)
    [value_heads] v4 = Reshape(v, heads)
    [query_first] qt = Transpose <perm = [0, 2, 1, 3]> (q4)
    [key_last] kt = Transpose <perm = [0, 2, 3, 1]> (k4)
    [value_first] vt = Transpose <perm = [0, 2, 1, 3]> (v4)
    [float] f = Cast <to = 1> (mask)
    [invert] i = Sub(one, f)
    [fill] w = Mul(i, lowest)
    [row] b = Unsqueeze(w, rows)
    [scores] s = MatMul(qt, kt)
    [scaled] ss = Mul(s, scale)
    [add] t = Add(ss, b)
    [softmax] p = Softmax <axis = -1> (t)
    [context] c4 = MatMul(p, vt)
    [context_last] ct = Transpose <perm = [0, 2, 1, 3]> (c4)
    [merge] c = Reshape(ct, merged)
    [output] y = MatMul(c, wo)
}
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    root = tmp_path_factory.mktemp("masked")
    engine = root / "engines" / "masked"
    (engine / "data").mkdir(parents=True)
    (engine / "engine.toml").write_text(SPEC)
    random = np.random.default_rng(0)
    model = onnx.parser.parse_model(MODEL)
    for name in ("wq", "wk", "wv", "wo"):
        weight = random.normal(size=(32, 32)).astype(np.float32) / 5
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight, name))
    onnx.save(model, engine / "model.onnx")
    for index in range(6):
        x = np.clip(random.normal(size=(1, 8, 32)), -4, 4).astype(np.float32)
        np.savez(engine / "data" / f"{index}.npz", x=x, mask=np.ones((1, 8), np.int64))
    return root


def run(clone, *words):
    environment = {**os.environ, "TRT_PIPELINE_ROOT": str(clone)}
    command = [sys.executable, "-m", "pipeline.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def built(clone):
    result = run(clone, "engine", "masked", "--policy", "search")
    assert result.returncode == 0, result.stdout + result.stderr
    return clone / "engines" / "masked" / "build-search"


def test_a_searched_plan_masks_in_fp16_and_rests_on_proof(built):
    plan = json.loads((built / "bundle" / "precision.json").read_text())
    by_node = {item["node"]: item for item in plan["decisions"]}
    assert {by_node[name]["operands"] for name in ("add", "softmax")} == {"fp16"}
    assert {by_node[name]["basis"] for name in ("add", "softmax")} == {"proof"}
    assert (by_node["fill"]["result"], by_node["fill"]["rule"]) == ("fp32", "constant")


def test_its_attention_is_one_fused_kernel(built):
    assert plan_text.read(built / "bundle" / "tensorrt-rtx-sm89.plan").fused_attentions == 1


def test_the_report_compares_what_is_not_masked_and_says_so(built):
    report = json.loads((built / "report.json").read_text())
    layer = next(item for item in report["layers"] if item["tensor"] == "t")
    assert (layer["bad"], layer["result"]) == (False, "fp16")
    assert layer["floor_db"] < layer["stats"]["sqnr_db"] < 80
    made = {item["name"]: item for item in report["made"]}
    assert made["masks"]["notes"] == ["t: masked elements are held at -32768, and count as 0"]
    masked = next(item for item in report["extremes"] if item["name"] == "everything masked")
    assert masked["broken"] == 0
    assert masked["sqnr_db"] > 50


LEFT_PADDED = [[0, 0, 0, 1, 1, 1, 1, 1]]
MASKS = {"padding": LEFT_PADDED, "one valid key": [[0, 0, 0, 0, 0, 1, 0, 0]], "nothing valid": [[0] * 8]}


@pytest.mark.parametrize("case", MASKS)
def test_masked_rows_are_those_of_the_model(clone, built, case):
    feeds = {
        "x": np.clip(np.random.default_rng(3).normal(size=(1, 8, 32)), -4, 4).astype(np.float32),
        "mask": np.array(MASKS[case], np.int64),
    }
    paths = (clone / "engines" / "masked" / "model.onnx", built / "bundle" / "emulated.onnx")
    expected, found = (Session(path)(feeds)["y"] for path in paths)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, atol=0.01)
