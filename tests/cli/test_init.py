import tomllib

import pytest

from pipeline.core import spec_file
from pipeline.core.spec import Source

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[n, 3, s] x, int64[s] other) => (float[n, 3, s] y) { y = Relu(x) }
"""
COMMIT = "0123456789" * 4


def spec(clone, name):
    return spec_file.read(clone.root / "engines" / name / "engine.toml")


def test_from_the_hub_at_a_commit(clone):
    result = clone.run("init", "new", "--from", f"transformers:owner/name@{COMMIT}")
    assert result.output == "wrote engines/new/engine.toml\nlook it over, then run: trt-pipeline engine new\n"
    made = spec(clone, "new")
    assert (made.model.weights.hub, made.model.weights.revision) == ("owner/name", COMMIT)
    assert made.model.outputs == ("last_hidden_state",)
    assert made.inputs["attention_mask"].masks == ("sequence",)


def test_another_architecture_has_other_outputs(clone):
    source = f"transformers:owner/name@{COMMIT}"
    clone.run("init", "new", "--from", source, "--architecture", "AutoModelForSequenceClassification")
    assert spec(clone, "new").model.outputs == ("logits",)


def test_without_a_commit_and_without_the_hub(clone, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = clone.run("init", "new", "--from", "transformers:owner/name")
    assert result.exit_code == 3
    assert result.stderr == (
        "error: owner/name: the commit to pin cannot be looked up: HF_HUB_OFFLINE is set\n"
        "  hint: name the commit yourself: transformers:owner/name@COMMIT (40 hex digits)\n"
    )
    assert not (clone.root / "engines" / "new").exists()


def test_from_a_local_folder(clone):
    (clone.root / "checkpoint").mkdir()
    assert clone.run("init", "new", "--from", "transformers:checkpoint").exit_code == 0
    assert spec(clone, "new").model.weights.path == "checkpoint"


def test_from_an_onnx_file_inputs_and_axes_are_read(clone):
    import onnx

    onnx.save(onnx.parser.parse_model(GRAPH), clone.root / "m.onnx")
    assert clone.run("init", "new", "--from", "onnx:m.onnx").exit_code == 0
    made = spec(clone, "new")
    assert made.model.source is Source.ONNX
    assert made.model.outputs == ("y",)
    assert made.inputs["x"].axes == ("n", 3, "s")
    assert made.inputs["other"].dtype == "int64"
    assert made.axes.keys() == {"n", "s"}


def test_from_a_callable_the_module_is_written_and_works(clone):
    result = clone.run("init", "new", "--from", "callable:model.py:load")
    assert "wrote engines/new/model.py\n" in result.output
    assert spec(clone, "new").model.callable == "model.py:load"
    import torch

    names: dict = {}
    exec((clone.root / "engines" / "new" / "model.py").read_text(), names)
    module, example = names["load"](clone.root)
    assert module(*example.values()).shape == torch.Size([2, 16, 64])


def test_every_comment_is_above_a_key(clone):
    clone.run("init", "new", "--from", f"transformers:owner/name@{COMMIT}")
    text = (clone.root / "engines" / "new" / "engine.toml").read_text()
    assert text.count("#") > 10
    assert "\n# \n" not in text
    assert tomllib.loads(text)["build"]["targets"] == ["8.6", "8.9", "12.0"]


@pytest.mark.parametrize(
    ("name", "source", "said"),
    [
        ("tiny", "callable:m.py:f", "engines/tiny/engine.toml: there already"),
        ("../x", "callable:m.py:f", "not a name for a folder: '../x'"),
        ("new", "bert", "--from: no source of this form: 'bert'"),
        ("new", "transformers:bert", "--from: neither a folder nor OWNER/NAME: 'bert'"),
        ("new", "callable:m.py", "--from: expected FILE.py:FUNCTION, got 'm.py'"),
        ("new", "onnx:gone.onnx", "gone.onnx: no such file or folder"),
        ("new", "onnx:/etc/hostname", "/etc/hostname: must lie in the clone"),
        ("new", "transformers:owner/name@main", "model.weights: "),
    ],
)
def test_what_cannot_be_made(clone, name, source, said):
    result = clone.run("init", name, "--from", source)
    assert result.exit_code in (2, 3)
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert [path.name for path in (clone.root / "engines").iterdir()] == ["tiny"]
