"""`trt-pipeline compare` between any two of what a whole run made."""

import itertools
import json

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.core import device

STAGES = ("exported", "fp32", "mixed", "emulated")


@pytest.fixture
def compare(built, monkeypatch):
    clone, result, _ = built
    assert result.returncode == 0, result.stderr
    monkeypatch.setenv("TRT_PIPELINE_ROOT", str(clone.root))
    sides = {"bundle": clone.engine / "build" / "bundle", "onnx": clone.engine / "build" / "bundle" / "model.onnx"}

    def run(a, b, *words):
        paths = (str(sides.get(side, side)) for side in (a, b))
        return CliRunner().invoke(cli, ["--quiet", "compare", "tiny", *paths, *words])

    return run


@pytest.mark.parametrize(("a", "b"), list(itertools.combinations((*STAGES, "bundle", "onnx"), 2)))
def test_any_two_graphs_compare(compare, a, b):
    result = compare(a, b, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)["found"]
    assert len(found["matched"]) >= 15
    assert found["missing"] == []
    if {a, b} <= {"mixed", "emulated", "bundle", "onnx"}:
        assert found["only_a"] == found["only_b"] == {}
        assert all(item["stats"]["max_abs"] == 0 for item in found["matched"])


def test_the_order_of_the_two_does_not_change_what_is_compared(compare):
    there, back = (json.loads(compare(*sides, "--json").stdout)["found"] for sides in (STAGES[1:3], STAGES[2:0:-1]))
    pairs = {(item["tensor"], item["other"]) for item in there["matched"]}
    assert pairs == {(item["other"], item["tensor"]) for item in back["matched"]}


def test_modules_are_listed_with_what_they_hand_on(compare):
    result = compare("exported", "fp32", "--by", "module")
    assert result.exit_code == 0, result.output
    assert "modules that both have" in result.output
    assert max(map(len, result.output.splitlines())) <= 100


def test_what_has_no_counterpart_is_told_by_reason(compare):
    result = compare("fp32", "emulated")
    assert result.exit_code == 0, result.output
    lines = result.output.split("only in B, not compared:")[1].splitlines()
    counts = [int(line.split()[0]) for line in lines if line[:1].isdigit()]
    assert counts == sorted(counts, reverse=True)
    told = json.loads(compare("fp32", "emulated", "--json").stdout)["found"]["only_b"]
    assert sum(counts) == len(told) > len(counts)


def test_too_much_error_is_exit_code_1(compare):
    result = compare("fp32", "mixed", "--sqnr-db", "500")
    assert result.exit_code == 1
    assert "layers are worse than allowed (at least 500 dB asked)" in result.output


@pytest.mark.skipif(bool(device.probe().gpus), reason="this machine has a GPU")
def test_an_engine_without_a_gpu_says_what_is_missing(compare):
    result = compare("engine", "emulated")
    assert result.exit_code == 3
    assert result.stderr.startswith(f"error: engine: {device.probe().reason}\n  hint: compare `emulated` instead")
