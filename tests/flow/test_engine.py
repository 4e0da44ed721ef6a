import json
import shutil
import subprocess

from tests.flow.clone import make_clone


def copy_of(clone, tmp_path):
    shutil.copytree(clone.root, tmp_path / "clone")
    return type(clone)(tmp_path / "clone")


def test_one_command_ends_in_a_bundle(built):
    clone, result, _ = built
    assert result.returncode == 0, result.stderr
    manifest = json.loads((clone.engine / "build" / "bundle" / "manifest.json").read_text())
    assert manifest["engine"] == "tiny"
    assert {"model.onnx", "emulated.onnx", "precision.json", "sbom.cdx.json", "README.md"} <= set(clone.core())
    assert any(name.endswith(".plan") for name in clone.core())
    assert (clone.engine / "build" / "bundle" / "attestation" / "report.html").is_file()


def test_a_second_run_runs_no_stage_and_imports_no_torch(built):
    clone, _, _ = built
    again = subprocess.run(
        [clone.command()[0], "-X", "importtime", *clone.command("engine", "tiny", "--json")[1:]],
        env=clone.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(again.stdout)["fresh"] == []
    timed = (line for line in again.stderr.splitlines() if line.startswith("import time:"))
    imported = {line.rsplit("|", 1)[-1].strip() for line in timed}
    assert "click" in imported
    assert not imported & {"torch", "transformers", "onnx", "onnx_ir", "onnxruntime", "tensorrt_rtx", "polygraphy"}


def test_a_run_killed_anywhere_in_another_folder_ends_with_the_same_core(built, tmp_path):
    clone, _, _ = built
    fresh = make_clone(tmp_path / "a folder of another name")
    stages = ["export", "build", "ship", "publish"]
    assert [stage for stage in stages if fresh.kill_in(stage, "engine", "tiny")] == stages
    assert fresh.run("engine", "tiny").returncode == 0
    assert fresh.core() == clone.core()


def test_damage_is_noticed_and_made_again(built, tmp_path):
    clone = copy_of(built[0], tmp_path)
    weights = next((clone.root / ".trt-pipeline" / "entries" / "convert").glob("*/model.onnx"))
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    result = clone.run("engine", "tiny", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["fresh"] == ["convert"]
    assert clone.core() == built[0].core()


def test_a_damaged_bundle_is_laid_out_again(built, tmp_path):
    clone = copy_of(built[0], tmp_path)
    (clone.engine / "build" / "bundle" / "model.onnx").write_bytes(b"damaged")
    assert clone.run("engine", "tiny").returncode == 0
    assert clone.core() == built[0].core()


def test_two_runs_at_once_wait_for_each_other(built, tmp_path):
    clone = make_clone(tmp_path / "clone")
    runs = [
        subprocess.Popen(
            clone.command("engine", "tiny"), env=clone.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    outputs = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum(b"waiting for another run" in error for _, error in outputs) == 1
    assert clone.core() == built[0].core()


def test_a_changed_policy_runs_only_what_reads_it(built, tmp_path):
    clone = copy_of(built[0], tmp_path)
    spec = clone.engine / "engine.toml"
    spec.write_text(spec.read_text() + "\n[precision]\nfp32 = ['mlp.2*']\n")
    result = clone.run("engine", "tiny", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["fresh"] == ["rescale", "mark", "convert", "build", "validate", "render", "ship"]


def test_a_model_that_breaks_in_fp16_is_not_shipped(built, tmp_path):
    clone = copy_of(built[0], tmp_path)
    model = clone.engine / "model.py"
    text = model.read_text()
    assert "self.norm(x)" in text
    model.write_text(text.replace("self.norm(x)", "self.norm(x * 300.0 * 300.0)"))
    result = clone.run("engine", "tiny", "--policy", "all-fp16")
    assert result.returncode == 1, result.stderr
    assert "NOT SHIPPABLE" in result.stdout
    assert not (clone.engine / "build-all-fp16" / "bundle").exists()
    assert (clone.engine / "build" / "bundle").exists(), "another policy's verdict leaves the spec's own bundle alone"
    forced = clone.run("ship", "tiny", "--policy", "all-fp16", "--force-unvalidated")
    assert forced.returncode == 0, forced.stderr
    assert "NOT VALIDATED  shipped all the same: engines/tiny/build-all-fp16/bundle" in forced.stdout
    verified = clone.run("verify", str(clone.engine / "build-all-fp16" / "bundle"))
    assert verified.returncode == 1
    assert "shipped although: validation did not pass" in verified.stdout
