"""A model that only its range keeps out of fp16, through the whole line: rescaled, validated and shipped."""

import json

import numpy as np
import onnx
import pytest

from pipeline.runtime import load
from tests.flow.clone import run_in
from tests.flow.onnx_engine import spec
from tests.loud import WIDTH, net, weights


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A clone after the whole line on that model, and what it said."""
    root = tmp_path_factory.mktemp("rescaled")
    engine = root / "engines" / "loud"
    (engine / "data").mkdir(parents=True)
    (engine / "engine.toml").write_text(spec("loud", "a layer that fp16 cannot hold", columns=WIDTH, samples=4))
    random = np.random.default_rng(0)
    onnx.save(_model(random), engine / "model.onnx")
    for index in range(6):
        np.savez(engine / "data" / f"{index}.npz", x=random.normal(0, 1, (1, WIDTH)).astype(np.float32))
    return root, run_in(root, "engine", "loud", "--json")


def _model(random):
    model = onnx.parser.parse_model(net("Gelu"))
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in weights(random).items()
    )
    return model


def test_it_ships_with_the_nodes_that_rescaling_added(shipped):
    root, result = shipped
    assert result.returncode == 0, result.stdout + result.stderr
    summary = json.loads(result.stdout)
    assert summary["passed"]
    assert summary["shippable"]
    build = root / "engines" / "loud" / "build"
    report = json.loads((build / "report.json").read_text())
    assert len(report["added"]) == 2, "the Gelu gets its input restored, and its result is scaled again"
    decided = {
        item["node"]: item for item in json.loads((build / "bundle" / "precision.json").read_text())["decisions"]
    }
    assert report["added"].keys() == decided.keys() - {"up", "bias", "act", "down", "residual", "norm"}
    assert (decided["up"]["operands"], decided["down"]["operands"]) == ("fp16", "fp16")


def test_it_can_have_a_baseline_and_is_held_to_it(shipped):
    root, _ = shipped
    made = run_in(root, "baseline", "update", "loud", "--yes")
    assert made.returncode == 0, made.stderr
    held = run_in(root, "regress", "loud")
    assert held.returncode == 0, held.stdout + held.stderr
    assert held.stdout.startswith("PASSED  loud: no figure worse, 0 better, ")


def test_without_rescaling_range_alone_keeps_those_layers_in_fp32(shipped):
    root, _ = shipped
    toml = root / "engines" / "loud" / "engine.toml"
    toml.write_text(toml.read_text() + "\n[precision]\nrescale = false\n")
    result = run_in(root, "mark", "loud", "--json")
    assert result.returncode == 0, result.stderr
    rules = {item["node"]: item["rule"] for item in json.loads(result.stdout)["decisions"]}
    assert rules["up"] == "overflow"


def test_its_bundle_verifies_and_runs(shipped):
    root, _ = shipped
    bundle = root / "engines" / "loud" / "build" / "bundle.tar.zst"
    assert run_in(root, "verify", str(bundle)).returncode == 0
    with load(bundle, backend="emulated") as engine:
        outputs = engine(x=np.ones((2, WIDTH), np.float32))["y"]
    assert np.isfinite(outputs).all()
    np.testing.assert_allclose(outputs.mean(axis=1), 0, atol=1e-2)
