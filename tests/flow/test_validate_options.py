"""`trt-pipeline validate` with other samples than the spec's, and looking at single tensors."""

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.core import device


@pytest.fixture(scope="module")
def clone(built, tmp_path_factory):
    first, result, _ = built
    assert result.returncode == 0, result.stderr
    root = tmp_path_factory.mktemp("options") / "clone"
    shutil.copytree(first.root, root)
    return type(first)(root)


@pytest.fixture
def run(clone, monkeypatch):
    monkeypatch.setenv("TRT_PIPELINE_ROOT", str(clone.root))
    return lambda *words: CliRunner().invoke(cli, ["--quiet", *words])


def norm(clone):
    """A tensor of the engine and its node."""
    layers = json.loads((clone.engine / "build" / "report.json").read_text())["layers"]
    found = next(layer for layer in layers if layer["op"] == "LayerNormalization")
    return found["tensor"], found["node"]


def test_drawn_samples_have_a_report_of_their_own_and_disturb_nothing(clone, run):
    before = clone.core()
    drawn = run("validate", "tiny", "--samples", "2", "--batch", "1", "--seed", "3", "--json")
    assert drawn.exit_code == 0, drawn.output
    stats = json.loads(drawn.stdout)["layers"][0]["stats"]
    assert json.loads(drawn.stdout)["samples"] == 2
    assert stats["worst_sample"] in (0, 1)
    assert stats["worst_relative_l2"] >= stats["mean_relative_l2"]
    assert (clone.engine / "build-drawn" / "report.html").exists()
    again = run("engine", "tiny", "--json")
    assert json.loads(again.stdout)["fresh"] == []
    assert clone.core() == before


def test_every_batch_has_the_shape_asked_for(run):
    result = run("validate", "tiny", "--shape", "sequence=8", "--json")
    assert result.exit_code == 4, "samples of 16 tokens cannot be cut: nothing masks them"
    assert "16 elements along sequence, and the profile allows 8 to 8" in result.stderr


def test_a_shape_that_is_none_is_an_error(run):
    result = run("validate", "tiny", "--shape", "sequence")
    assert result.exit_code == 2
    assert result.stderr == ("error: command line: --shape takes AXIS=SIZE, such as sequence=128, and got 'sequence'\n")


def test_a_tensor_close_up_is_printed_and_written(clone, run):
    tensor, node = norm(clone)
    result = run("validate", "tiny", "--layer", node)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"PASSED  {tensor}")
    assert max(map(len, result.output.splitlines())) <= 100
    folder = clone.engine / "build-layers"
    assert {path.suffix for path in folder.iterdir()} == {".html", ".json", ".npz"}
    (found,) = json.loads((folder / "index.json").read_text())
    assert (found["tensor"], found["passed"]) == (tensor, True)
    with np.load(found["file"]) as arrays:
        assert arrays["batch_0000.reference"].shape == arrays["batch_0000.candidate"].shape == (2, 16, 64)
    assert tensor in (folder / "index.html").read_text()


def test_an_unknown_layer_is_an_error_with_names_that_are_near(clone, run):
    _, node = norm(clone)
    result = run("validate", "tiny", "--layer", f"{node}x")
    assert result.exit_code == 5
    assert result.stderr.startswith(
        f"error: layer {node}x: no float tensor, node or module has this name\n  hint: nearest"
    )
    assert node in result.stderr


@pytest.mark.skipif(bool(device.probe().gpus), reason="this machine has a GPU")
def test_a_gpu_check_without_a_gpu_says_what_was_not_run(run):
    result = run("validate", "tiny", "--gpu-check", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert f"tapped engine and latencies: {device.probe().reason}" in report["not_run"]
    assert report["gpu"] is None
