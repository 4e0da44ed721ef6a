import tomllib

import pytest

from pipeline.core import spec_file
from pipeline.core.spec import AxisRange, Reader, Source, ToleranceSpec

GRAPH = """
<ir_version: 10, opset_import: ["" : 20]>
g (float[n, 3, s] x, int64[s] other) => (float[n, 3, s] y) { y = Relu(x) }
"""
COMMIT = "0123456789" * 4


def spec(clone, name):
    return spec_file.read(clone.root / "engines" / name / "engine.toml")


def test_from_the_hub_at_a_commit(clone):
    result = clone.run("init", "new", "--from", f"transformers:owner/name@{COMMIT}")
    assert result.output == (
        "wrote engines/new/engine.toml\n"
        "TODO model.weights.licence: the SPDX identifier of the weights; without it nothing ships\n"
        "look it over, then run: trt-pipeline engine new\n"
    )
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
    assert made.inputs["x"].axes == ("batch", 3, "s")
    assert made.inputs["other"].dtype == "int64"
    assert made.axes.keys() == {"batch", "s"}


def test_from_a_callable_the_module_is_written_and_works(clone):
    result = clone.run("init", "new", "--from", "callable:model.py:load")
    assert "wrote engines/new/model.py\n" in result.output
    assert spec(clone, "new").model.callable == "model.py:load"
    import torch

    names: dict = {}
    exec((clone.root / "engines" / "new" / "model.py").read_text(), names)
    module, example = names["load"](clone.root)
    assert module(*example.values()).shape == torch.Size([2, 16, 64])


CNN = """
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, image):
        logits = 100 * self.conv(image).mean((2, 3))
        return logits

def load(weights):
    module = Net()
    module.load_state_dict(torch.load(weights, weights_only=True))
    return module, torch.ones(1, 3, 16, 16)
"""
DETECTOR = """
import torch

class Net(torch.nn.Module):
    def forward(self, features, anchors):
        boxes = features @ torch.ones(4, 4) + anchors
        levels = [boxes[..., :2], boxes[..., 2:]]
        return boxes, levels

def load(weights):
    return Net(), {"features": torch.ones(2, 7, 4), "anchors": torch.ones(7, 4)}
"""


@pytest.fixture
def cnn(clone):
    """A clone in which a convolutional net has been put into its folder, with weights and 20 samples."""
    import numpy as np
    import torch

    folder = clone.root / "engines" / "cnn"
    folder.mkdir()
    (folder / "model.py").write_text(CNN)
    torch.manual_seed(0)
    torch.save({f"conv.{k}": v for k, v in torch.nn.Conv2d(3, 4, 3).state_dict().items()}, folder / "net.pt")
    (clone.root / "calibration").mkdir()
    np.savez(clone.root / "calibration" / "cnn.npz", image=np.ones((20, 3, 16, 16), np.float32))
    return clone


def test_a_module_is_asked_and_nothing_is_left_to_do(cnn):
    result = cnn.run("init", "cnn", "--from", "callable:model.py:load", "--licence", "MIT")
    assert result.output == "wrote engines/cnn/engine.toml\nlook it over, then run: trt-pipeline engine cnn\n"
    made = spec(cnn, "cnn")
    assert made.inputs["image"].axes == ("batch", 3, 16, 16)
    assert made.axes["batch"] == AxisRange(min=1, opt=8, max=32)
    assert made.model.outputs == ("logits",)
    assert made.model.weights.path == "engines/cnn/net.pt"
    assert (made.calibration.data.reader, made.calibration.data.path) == (Reader.NPZ, "calibration/cnn.npz")
    assert (made.calibration.samples, made.calibration.validate_samples) == (16, 4)


def test_tolerances_are_those_of_large_outputs(cnn):
    cnn.run("init", "cnn", "--from", "callable:model.py:load")
    made = spec(cnn, "cnn")
    assert made.tolerances.output_atol > ToleranceSpec().output_atol
    assert made.tolerances.export_atol == pytest.approx(made.tolerances.output_atol / 50, rel=0.5)


def test_without_data_it_says_where_pictures_go(cnn):
    (cnn.root / "calibration" / "cnn.npz").unlink()
    result = cnn.run("init", "cnn", "--from", "callable:model.py:load", "--licence", "MIT")
    todo = "TODO calibration.data: put some 40 real pictures into calibration/cnn/, or name others\n"
    assert todo in result.output
    assert f"# {todo}" in (cnn.root / "engines" / "cnn" / "engine.toml").read_text()
    assert spec(cnn, "cnn").calibration.data.reader is Reader.IMAGES


def test_data_that_does_not_fit_is_named(cnn):
    import numpy as np

    np.savez(cnn.root / "calibration" / "other.npz", image=np.ones((2, 3, 8, 8), np.float32))
    result = cnn.run("init", "cnn", "--from", "callable:model.py:load", "--data", "calibration/other.npz")
    assert (
        "TODO calibration.data: other.npz[0]: input image has shape [3, 8, 8]: a size of 8 where the spec fixes 16\n"
    ) in result.output


def test_a_file_elsewhere_is_copied_and_every_tensor_is_an_output(clone):
    (clone.root / "net.py").write_text(DETECTOR)
    result = clone.run("init", "new", "--from", "callable:net.py:load")
    assert "wrote engines/new/net.py\n" in result.output
    assert "TODO model.weights.path: no checkpoint lies in engines/new/: name one, unless net.py makes" in result.output
    assert "TODO calibration.data: save some 40 real samples to calibration/new.npz: " in result.output
    made = spec(clone, "new")
    assert made.inputs["features"].axes == ("batch", "sequence", 4)
    assert made.inputs["anchors"].axes == ("sequence", 4)
    assert made.model.outputs == ("output_0", "output_1", "output_2")
    assert made.model.weights.path == "engines/new/net.py"


def test_sizes_are_those_of_the_data(clone):
    import numpy as np

    tagger = """
import torch
def load(weights):
    return torch.nn.GRU(3, 4, batch_first=True), torch.ones(2, 5, 3)
"""
    (clone.root / "net.py").write_text(tagger)
    np.savez(clone.root / "series.npz", input=np.ones((4, 9, 3), np.float32))
    clone.run("init", "new", "--from", "callable:net.py:load", "--data", "series.npz")
    made = spec(clone, "new")
    assert made.axes["sequence"] == AxisRange(min=1, opt=9, max=20)
    assert (made.calibration.samples, made.calibration.batch, made.calibration.validate_samples) == (3, 3, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--weights", "gone.pt"), "--weights gone.pt: no such checkpoint"),
        (("--weights", "/etc/hostname"), "--weights /etc/hostname: must lie in the clone"),
        (("--data", "gone.npz"), "--data gone.npz: no such file or folder"),
        (("--data", "pyproject.toml"), "--data: pyproject.toml is no data that a reader is for"),
    ],
)
def test_what_is_named_must_be_there(cnn, options, said):
    (cnn.root / "pyproject.toml").touch()
    result = cnn.run("init", "cnn", "--from", "callable:model.py:load", *options)
    assert result.exit_code in (2, 3)
    assert said in result.stderr


def test_a_checkpoint_that_cannot_be_read_is_named(cnn):
    (cnn.root / "engines" / "cnn" / "net.pt").unlink()
    (cnn.root / "engines" / "cnn" / "model.py").write_text(CNN.replace("torch.load(weights", "torch.load('gone'"))
    result = cnn.run("init", "cnn", "--from", "callable:model.py:load")
    assert result.exit_code == 3
    assert "model.py:load: cannot read its checkpoint: " in result.stderr
    assert "hint: --weights PATH names the checkpoint" in result.stderr


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
