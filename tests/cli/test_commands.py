import dataclasses
import importlib
import json
import re

import pytest

from pipeline.bundle import archive, signing, verify
from pipeline.core import device, serde
from pipeline.core.artifacts import Overrides
from pipeline.core.errors import BackendUnavailable, GraphError, StoreError
from pipeline.core.progress import Silent
from pipeline.core.spec import EngineSpec
from pipeline.core.store import Store
from pipeline.stages.ship import ship
from tests import records, shipping

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[batch, 4] x) => (float[batch, 4] y) {
    [left] a = Relu(x)
    [right] y = Neg(a)
}
"""


@pytest.fixture
def bundle(tmp_path):
    return shipping.shipped(tmp_path / "bundle")


@pytest.fixture
def graph(tmp_path):
    import onnx

    onnx.save(onnx.parser.parse_model(GRAPH), tmp_path / "g.onnx")
    return tmp_path / "g.onnx"


def test_list(clone):
    assert clone.run("list").output == "tiny  an encoder\n"
    assert json.loads(clone.run("list", "--json").output) == [
        {"name": "tiny", "description": "an encoder", "path": f"{clone.root}/engines/tiny"}
    ]


@pytest.mark.skipif(bool(device.probe().gpus), reason="this machine has a GPU")
def test_costs_that_cannot_be_measured_here_are_said_before_any_work(clone):
    result = clone.run("search", "tiny", "--cost", "measured")
    assert result.exit_code == BackendUnavailable.exit_code
    assert result.stdout == ""
    assert result.stderr == (
        f"error: precision.search.cost: to measure what plans cost needs an NVIDIA GPU: {device.probe().reason}\n"
        '  hint: run it on the machine with the GPU, or let costs be counted: cost = "counted", the default\n'
    )


def test_the_clone_is_found_from_below_and_by_its_variable(clone, monkeypatch):
    monkeypatch.chdir(clone.root / "engines" / "tiny")
    assert clone.run("list").output == "tiny  an encoder\n"
    monkeypatch.setenv("TRT_PIPELINE_ROOT", str(clone.root / "nowhere"))
    result = clone.run("list")
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {clone.root}/nowhere: no folder `engines` here or above\n"
        "  hint: run from a clone, or set TRT_PIPELINE_ROOT\n"
    )


def test_an_error_says_what_where_and_what_next_without_a_traceback(clone):
    (clone.root / "engines" / "tiny" / "engine.toml").write_text("description = 3")
    result = clone.run("list")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {clone.root}/engines/tiny/engine.toml: 4 mistakes\n")
    assert result.stderr.endswith("  hint: `trt-pipeline init NAME --from …` writes a commented file\n")


@pytest.mark.parametrize("error", [GraphError("broken"), StoreError("locked")])
def test_an_error_ends_the_command_with_its_own_code(clone, monkeypatch, error):
    def fail(path):
        raise error

    monkeypatch.setattr("pipeline.core.spec_file.read", fail)
    result = clone.run("list")
    assert (result.exit_code, result.stderr) == (error.exit_code, f"error: {error}\n")


def test_a_bug_keeps_its_traceback_and_has_a_code_of_its_own(monkeypatch, capsys):
    module = importlib.import_module("pipeline.cli.main")

    def broken(**arguments):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(module, "cli", broken)
    with pytest.raises(SystemExit) as caught:
        module.main()
    assert caught.value.code == 70
    text = capsys.readouterr().err
    assert "Traceback (most recent call last)" in text
    assert "ZeroDivisionError: a bug" in text


def test_an_interrupt_ends_with_its_code(clone, monkeypatch):
    def interrupt(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("pipeline.core.spec_file.read", interrupt)
    result = clone.run("list")
    assert result.exit_code == 130
    assert result.stderr == "\ninterrupted; finished stages are kept\n"


def test_inspect_a_spec(clone):
    path = "engines/tiny/engine.toml"
    text = clone.run("inspect", path).output
    assert re.search(r"model +transformers AutoModel", text)
    assert re.search(r"input_ids +int64 +batch × 16", text)
    assert serde.loads(EngineSpec, clone.run("inspect", path, "--json").output).name == "tiny"


def test_inspect_an_onnx_model(clone, graph):
    text = clone.run("inspect", str(graph)).output
    assert re.search(r"ops +1 Relu, 1 Neg", text)
    assert re.search(r"input +x +float +batch × 4", text)
    assert json.loads(clone.run("inspect", str(graph), "--json").output)["nodes"] == 2


def test_inspect_modules(clone, graph):
    assert json.loads(clone.run("inspect", str(graph), "--modules", "--json").output) == [
        {"module": "", "class": "", "nodes": 2}
    ]


def test_inspect_everything_in_a_bundle(clone, bundle):
    archive.pack(bundle, clone.root / "bundle.tar.zst")
    for form in (bundle, clone.root / "bundle.tar.zst"):
        assert "tensorrt-rtx-sm86-sm89.plan" in clone.run("inspect", str(form)).output
    assert "a normalisation sums squares" in " ".join(clone.run("inspect", f"{bundle}/precision.json").output.split())
    decisions = clone.run("inspect", f"{bundle}/precision.json", "--decisions").output
    assert re.search(r"proj \(MatMul\): fp16 sum fp32\n    default: nothing speaks against fp16", decisions)
    assert clone.run("inspect", f"{bundle}/attestation/report.json").output.startswith("PASSED  tiny")
    assert serde.loads(type(verify.read(bundle)), clone.run("inspect", str(bundle), "--json").output)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("x.bin", "", "not a kind of file that can be shown"),
        ("x.json", "{}", "JSON, but no precision plan, report or manifest"),
        ("x.json", "{", "not a valid record"),
        ("x.json", '{"layers": 3}', "not a valid record"),
        ("x.onnx", "not protobuf", "not a readable ONNX model"),
    ],
)
def test_inspect_what_it_is_not(clone, name, content, said):
    (clone.root / name).write_text(content)
    result = clone.run("inspect", name)
    assert result.exit_code in (2, 4)
    assert result.stderr.startswith("error: x.")
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_verify_a_bundle(clone, bundle):
    whole = clone.run("verify", str(bundle))
    assert whole.exit_code == 0
    assert whole.output.endswith("not signed: damage is detected, tampering is not\n")
    assert json.loads(clone.run("verify", str(bundle), "--json").output)["trusted"] is False
    graph = bundle / "model.onnx"
    graph.write_bytes(bytes([graph.read_bytes()[0] ^ 1]) + graph.read_bytes()[1:])
    damaged = clone.run("verify", str(bundle))
    assert damaged.exit_code == 6
    assert damaged.stderr == (
        f"error: {bundle}: 1 problem\n  - model.onnx: its content does not have the digest in the manifest\n"
        "  hint: do not load it; take the bundle again from its source\n"
    )


def test_verify_asks_for_one_thing(clone, bundle):
    assert clone.run("verify").exit_code == 2
    assert clone.run("verify", str(bundle), "--store").exit_code == 2


def test_verify_the_store(clone):
    store = Store(clone.root / ".trt-pipeline")
    with store.writing(), store.workspace("mark") as folder:
        (folder / "payload").write_text("x")
        store.commit("mark", "k" * 64, folder, records.precision())
    assert clone.run("verify", "--store").output == "intact: the store (1 entries compared)\n"
    (store.entries / "mark" / ("k" * 64) / "payload").write_text("y")
    result = clone.run("verify", "--store")
    assert result.exit_code == 6
    assert f"  mark/{'k' * 64}: damaged; it is made again when it is needed\n" in result.output


def test_clean_removes_what_was_built_and_nothing_else(clone):
    (clone.root / "engines" / "tiny" / "builders").mkdir()
    for name in ("build", "build-seeded"):
        (clone.root / "engines" / "tiny" / name).mkdir()
        (clone.root / "engines" / "tiny" / name / "x").write_bytes(b"0" * 100_000)
    assert clone.run("clean", "tiny").output == (
        "removed engines/tiny/build (0.1 MB)\nremoved engines/tiny/build-seeded (0.1 MB)\n"
    )
    assert clone.run("clean").output == "nothing to remove\n"
    assert sorted(path.name for path in (clone.root / "engines" / "tiny").iterdir()) == ["builders", "engine.toml"]
    assert clone.run("clean", "--store").exit_code == 0
    assert not (clone.root / ".trt-pipeline").exists()
    assert clone.run("clean", "../x").exit_code == 2


def test_doctor_says_what_was_found_and_what_is_missing(clone, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = {item["subject"]: item for item in json.loads(clone.run("doctor", "--json").output)}
    assert found["platform"]["available"]
    assert found["libraries"]["available"]
    assert found["Hugging Face hub"]["detail"] == "HF_HUB_OFFLINE is set"
    assert "PyPI packages still work" in found["Hugging Face hub"]["remedy"]
    text = clone.run("doctor").output
    assert max(len(line) for line in text.splitlines()) <= 100


def test_verify_with_a_key(clone, bundle, tmp_path):
    key = tmp_path / "k"
    made = clone.run("keygen", "--no-passphrase", str(key))
    assert made.exit_code == 0
    assert f"public key:  {key}.pub" in made.output
    unsigned = clone.run("verify", str(bundle), "--key", f"{key}.pub")
    assert unsigned.exit_code == 7
    assert unsigned.stderr.startswith(f"error: {bundle}: not signed, and a key was given")
    signer = signing.read_private(key)
    signing.sign(bundle, signer)
    signed = clone.run("verify", str(bundle), "--key", f"{key}.pub")
    assert signed.exit_code == 0
    assert f"signed by {signer.key_id[:16]}…: {bundle} (core {verify.read(bundle).core[:16]}…)\n" in signed.output
    assert clone.run("verify", "--store", "--key", f"{key}.pub").exit_code == 2


def test_a_key_is_not_overwritten_and_may_have_a_passphrase(clone, tmp_path, monkeypatch):
    key = tmp_path / "k"
    monkeypatch.setenv("TRT_PIPELINE_KEY_PASSPHRASE", "secret")
    assert clone.run("keygen", str(key)).exit_code == 0
    assert b"ENCRYPTED" in key.read_bytes()
    again = clone.run("keygen", str(key))
    assert again.exit_code == 2
    assert again.stderr == f"error: {key}: exists; a key is never overwritten\n  hint: give another name\n"


def test_verify_says_what_was_forced_and_exits_1(clone, tmp_path):
    given = shipping.inputs(tmp_path)
    report = dataclasses.replace(records.failed(), subjects=given["report"].subjects)
    given["rendered"].json.write_text(serde.dumps(report))
    (tmp_path / "out").mkdir()
    forced = {**given, "report": report, "overrides": Overrides(unvalidated=True)}
    folder = ship(**forced, out=tmp_path / "out", progress=Silent()).folder
    result = clone.run("verify", str(folder))
    assert result.exit_code == 1
    assert "shipped although: bad layers: proj_out\n" in result.output
    assert result.output.endswith("NOT VALIDATED: whoever shipped it overrode the refusals above\n")
