import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.bundle import archive, signing, verify
from pipeline.cli import cli
from pipeline.core.errors import BundleError
from pipeline.runtime import tokenizer
from tests import bundles, encoder
from tests.fuzz.targets import TOKENIZER


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A bundle with a plan that TensorRT-RTX could have built."""
    folder = tmp_path_factory.mktemp("shipped") / "bundle"
    bundles.add_materials(folder, bundles.write(folder, extra={"README.md": b"before"}))
    return folder


def call(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


@pytest.fixture
def samples(tmp_path):
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "in.npz",
        **{
            "x": random.normal(size=(2, 16, encoder.WIDTH)).astype(np.float32),
            "mask": np.zeros((2, 1, 1, 16), np.float32),
            "expected.label": np.zeros(2),
        },
    )
    return tmp_path / "in.npz"


def test_run_says_what_came_out_and_that_it_is_not_the_engine(shipped, samples, tmp_path):
    result = call("run", shipped, "--npz", samples, "--backend", "emulated", "--save", tmp_path / "out.npz")
    assert result.exit_code == 0, result.output
    assert "ran emulated on x 2 × 16 × 64, mask 2 × 1 × 1 × 16 in " in result.stdout
    assert re.search(r"^y  float32 2 × 16 × 64$", result.stdout, re.MULTILINE)
    assert "NOT THE ENGINE: emulated on the CPU" in result.stderr
    with np.load(tmp_path / "out.npz") as saved:
        assert saved["y"].shape == (2, 16, encoder.WIDTH)


def test_run_falls_back_to_the_emulation_with_the_reason_unless_the_engine_is_asked_for(shipped, samples, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    result = call("run", shipped, "--npz", samples, "--json")
    assert result.exit_code == 0, result.output
    assert "note: no plan of this bundle fits this machine\n    rtx.plan: " in result.stderr
    document = json.loads(result.stdout)
    assert (document["ran"], document["outputs"][0]["shape"]) == ("emulated", [2, 16, encoder.WIDTH])
    refused = call("run", shipped, "--npz", samples, "--backend", "engine")
    assert refused.exit_code == 3
    assert "no plan of this bundle fits this machine" in refused.stderr


def test_run_wants_text_or_arrays_and_text_wants_a_tokenizer(shipped):
    assert "give --text TEXT, or --npz FILE" in call("run", shipped).stderr
    result = call("run", shipped, "--text", "hello", "--backend", "emulated")
    assert result.exit_code == 2
    assert result.stderr.endswith(
        f"error: {shipped}: this bundle has no tokenizer/tokenizer.json, so it takes no text\n"
        "  hint: give arrays: --npz FILE\n"
    )


@pytest.mark.parametrize(
    ("tokenizer", "config"), [(b"{}", b"{}"), (b"\xff", b"{}"), (TOKENIZER, b"[1]"), (TOKENIZER, b"{")]
)
def test_run_says_that_a_tokenizer_cannot_be_used(tmp_path, tokenizer, config):
    extra = {"tokenizer/tokenizer.json": tokenizer, "tokenizer/tokenizer_config.json": config}
    bundles.write(tmp_path / "bundle", extra=extra)
    result = call("run", tmp_path / "bundle", "--text", "hello", "--backend", "emulated")
    assert result.exit_code == 6, result.output
    assert f"error: {tmp_path}/bundle: its tokenizer cannot be used: " in result.stderr
    assert result.stderr.endswith("  hint: give arrays: --npz FILE\n")


def test_a_tokenizer_whose_template_names_no_token_is_an_error_and_no_panic():
    broken = TOKENIZER.replace(b'"special_tokens": {"[PAD]"', b'"special_tokens": {"[GONE]"')
    with pytest.raises(BundleError, match="its tokenizer cannot be used: "):
        tokenizer.parse(broken, b"{}", "bundle").encode("a text", 8)


def test_a_damaged_bundle_is_not_run(shipped, samples, tmp_path):
    copy = shutil.copytree(shipped, tmp_path / "copy")
    (copy / "emulated.onnx").write_bytes(b"x")
    result = call("run", copy, "--npz", samples)
    assert result.exit_code == 6
    assert "emulated.onnx: 1 bytes, expected " in result.stderr


def test_what_is_no_file_of_arrays_is_refused(shipped, tmp_path):
    (tmp_path / "in.npz").write_bytes(b"no arrays")
    result = call("run", shipped, "--npz", tmp_path / "in.npz", "--backend", "emulated")
    assert result.exit_code == 2
    assert result.stderr.endswith(
        f"error: {tmp_path}/in.npz: not an .npz file\n  hint: numpy.savez writes them, with an array an input\n"
    )


def test_a_damaged_file_of_arrays_is_refused(shipped, samples):
    content = bytearray(samples.read_bytes())
    content[200] ^= 1
    samples.write_bytes(content)
    result = call("run", shipped, "--npz", samples, "--backend", "emulated")
    assert result.exit_code == 2
    assert f"error: {samples}: not a readable .npz file: Bad CRC-32" in result.stderr


def test_a_file_of_pickles_is_refused(shipped, tmp_path):
    np.savez(tmp_path / "in.npz", x=np.array([{}], dtype=object))
    result = call("run", shipped, "--npz", tmp_path / "in.npz", "--backend", "emulated")
    assert result.exit_code == 2
    assert "not a readable .npz file: Object arrays cannot be loaded when allow_pickle=False" in result.stderr


def test_bench_times_shapes_and_says_loudly_what_it_timed(shipped):
    given = ("--backend", "emulated", "--seconds", "0", "--shape", "min", "--shape", "batch=2,sequence=8")
    result = call("bench", shipped, *given)
    assert result.exit_code == 0, result.output
    assert "THESE ARE NOT THE ENGINE'S FIGURES" in result.stdout
    timings = json.loads(call("bench", shipped, *given, "--json").stdout)["timings"]
    assert [(item["name"], item["shapes"]["x"], item["calls"]) for item in timings] == [
        ("min", [1, 8, 64], 3),
        ("batch=2,sequence=8", [2, 8, 64], 3),
    ]
    assert all(0 < item["median_ms"] <= item["p99_ms"] for item in timings)


def test_bench_refuses_shapes_that_the_bundle_does_not_take(shipped):
    result = call("bench", shipped, "--backend", "emulated", "--shape", "batch=9")
    assert "x is 9 at axis batch, and the bundle takes 1 to 4" in result.stderr
    result = call("bench", shipped, "--backend", "emulated", "--shape", "big")
    assert result.stderr.endswith(
        "error: --shape: not a shape: 'big'\n"
        "  hint: give min, opt, max, or sizes such as axis=8,axis=64; axes here: batch, sequence\n"
    )


def test_layout(shipped, tmp_path):
    result = call("layout", shipped, "triton", tmp_path / "repository")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"serve it: tritonserver --model-repository {tmp_path}/repository\n"


def test_rebuild_without_a_gpu_says_where_to_run_it(shipped, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    before = (shipped / "manifest.json").read_bytes()
    result = call("rebuild", shipped)
    assert result.exit_code == 3
    assert f"error: {shipped}: a TensorRT plan is built on the GPU that it is for, and here is none: " in result.stderr
    assert "run `trt-pipeline rebuild` on the machine with the GPU" in result.stderr
    assert (shipped / "manifest.json").read_bytes() == before


def test_rebuild_adds_a_checked_plan_from_the_bundle_alone_and_signs_it(shipped, tmp_path):
    signing.generate(tmp_path / "private.pem", tmp_path / "public.pem", None)
    archive.pack(shipped, tmp_path / "b.tar.zst")
    new = tmp_path / "new.tar.zst"
    result = call(
        "rebuild", tmp_path / "b.tar.zst", "--target", "8.0", "--out", new, "--sign", tmp_path / "private.pem"
    )
    assert result.exit_code == 0, result.output
    assert "tensorrt-rtx-sm80.plan: parsed: 19 planned nodes compared with " in result.stdout
    key_id = signing.read_private(tmp_path / "private.pem").key_id
    assert result.stdout.endswith(f"added tensorrt-rtx-sm80.plan to {new}\nsigned by key {key_id[:16]}…\n")
    assert verify.verify(new, key=tmp_path / "public.pem").trusted
    record, before = verify.read(new), verify.read(shipped)
    assert [(plan.path, plan.targets) for plan in record.plans] == [
        ("rtx.plan", ("8.6", "8.9")),
        ("tensorrt-rtx-sm80.plan", ("8.0",)),
    ]
    assert record.core != before.core
    assert record.verdict.not_run[-1].startswith("tensorrt-rtx-sm80.plan: rebuilt from this bundle; not run here: ")
    renewed = ("README.md", "sbom.cdx.json")
    assert {name: file for name, file in before.files.items() if name not in renewed}.items() <= record.files.items()
    assert "sbom.cdx.json lists these files" in verify.verify(new).checked
    again = call("rebuild", new, "--target", "8.0", "--key", tmp_path / "public.pem")
    assert again.exit_code == 0, again.output
    assert "not signed: sign it with --sign KEY" in again.stdout
    assert verify.verify(new).signed_by is None
    assert verify.read(new).plans == record.plans
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_rebuild_that_is_refused_leaves_the_bundle_as_it_was(shipped, tmp_path):
    copy = shutil.copytree(shipped, tmp_path / "copy")
    before = {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()}
    result = call("rebuild", copy, "--target", "9.0")
    assert result.exit_code == 2
    assert "--target: unknown targets ['9.0']" in result.stderr
    assert {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


WITHOUT_EXTRAS = """
import sys
absent = "torch transformers onnx onnx_ir polygraphy tensorrt_rtx jinja2 tokenizers cyclonedx"
for name in absent.split():
    sys.modules[name] = None
from pipeline.cli import main
main()
"""


@pytest.mark.parametrize(
    ("words", "needed"), [(["rebuild", "--target", "8.0"], "onnx"), (["run", "--text", "hello"], "tokenizers")]
)
def test_a_base_install_is_told_what_to_install(tmp_path, words, needed):
    extra = {"tokenizer/tokenizer.json": TOKENIZER}
    bundles.write(tmp_path / "bundle", extra=extra)
    command = [sys.executable, "-c", WITHOUT_EXTRAS, words[0], str(tmp_path / "bundle"), *words[1:]]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 3, result.stderr
    assert "Traceback" not in result.stderr
    assert needed in result.stderr
    assert "  hint: pip install " in result.stderr
