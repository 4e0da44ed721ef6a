"""A model that overflows in fp16, from the command line: bisect mends all-fp16, search finds the cheapest plan."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

from tests.flow.onnx_engine import spec

MODEL = """
<ir_version: 10, opset_import: ["" : 20]>
loud (float[batch, 8] x) => (float[batch, 8] y) {
    thousand = Constant <value_float = 1000.0> ()
    small = Constant <value_float = 0.000001> ()
    half = Constant <value_float = 0.5> ()
    [before] a = Mul(x, half)
    [grows] b = Mul(a, thousand)
    [squares] c = Mul(b, b)
    [shrinks] d = Mul(c, small)
    [after] e = Add(d, half)
    [last] y = Softmax <axis = -1> (e)
}
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    root = tmp_path_factory.mktemp("loud")
    engine = root / "engines" / "loud"
    (engine / "data").mkdir(parents=True)
    (engine / "engine.toml").write_text(spec("loud", "a square that fp16 cannot hold", columns=8, samples=4))
    onnx.save(onnx.parser.parse_model(MODEL), engine / "model.onnx")
    random = np.random.default_rng(0)
    for index in range(6):
        np.savez(engine / "data" / f"{index}.npz", x=random.uniform(1, 2, (1, 8)).astype(np.float32))
    return root


def run(clone, *words):
    environment = {**os.environ, "TRT_PIPELINE_ROOT": str(clone)}
    command = [sys.executable, "-m", "pipeline.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_bisect_names_what_overflows_and_writes_a_policy_that_says_so(clone):
    result = run(clone, "bisect", "loud", "--policy", "all-fp16", "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    found = told["found"]
    assert not found["before"]["passed"]
    assert found["after"]["passed"]
    assert [item["node"] for item in found["returned"]] == ["squares", "shrinks"]
    assert "beyond 65504" in found["returned"][0]["reason"]
    policy = clone / "engines" / "loud" / told["policy_file"]
    assert '"squares",  # Mul: its result reaches' in policy.read_text()


def test_search_leaves_in_fp32_what_has_to_be_and_frees_the_rest(clone):
    result = run(clone, "search", "loud", "--budget", "sqnr=45", "--samples", "2", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["outcome"] == "found"
    assert found["budget"]["sqnr_db"] == 45.0
    assert found["samples"] == 2
    assert [item["node"] for item in found["kept"]] == ["squares", "shrinks"]
    rules = {item["node"]: item["rule"] for item in found["plan"]["decisions"] if item["operands"] == "fp32"}
    assert rules == {"squares": "overflow", "shrinks": "overflow"}
    assert found["confirmations"][-1]["passed"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--budget", "sqnr"], "'sqnr' is not of the form KEY=VALUE with KEY one of sqnr, atol, rtol, task"),
        (["--budget", "sqnr=nan"], "'nan' is not a number that is finite and not negative"),
        (["--budget", "db=3"], "'db=3' is not of the form KEY=VALUE with KEY one of sqnr, atol, rtol, task"),
    ],
)
def test_a_budget_that_says_nothing_is_refused(clone, words, said):
    result = run(clone, "search", "loud", *words)
    assert result.returncode == 2
    assert said in result.stderr
