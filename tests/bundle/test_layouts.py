import ast
import hashlib
import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from pipeline.bundle import archive, opening, verify
from pipeline.bundle.layouts import kinds, pbtxt
from pipeline.bundle.layouts.kinds import Layout
from pipeline.core.errors import BundleError
from tests import bundles

CHECK = """
import importlib.util, json, sys
from google.protobuf import json_format, text_format
schema = importlib.util.find_spec("tritonclient").submodule_search_locations[0] + "/grpc/model_config_pb2.py"
spec = importlib.util.spec_from_file_location("model_config_pb2", schema)
model_config_pb2 = importlib.util.module_from_spec(spec)
spec.loader.exec_module(model_config_pb2)
for path in sys.argv[1:]:
    text = open(path).read()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())
    again = text_format.Parse(text_format.MessageToString(config), model_config_pb2.ModelConfig())
    assert again == config
    print(json.dumps(json_format.MessageToDict(config, preserving_proto_field_name=True)))
"""


@pytest.fixture(scope="module")
def rtx(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rtx") / "bundle"
    bundles.write(folder, extra={"tokenizer/tokenizer.json": b"{}"})
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both") / "bundle"
    hopper = bundles.plan("h.plan", flavour=bundles.TENSORRT, version="10.13.3.9", targets=("9.0",))
    ampere = bundles.plan("a.plan", flavour=bundles.TENSORRT, version="10.13.3.9", targets=("8.0",))
    bundles.write(folder, bundles.plan(), hopper, ampere)
    return folder


def write(layout, bundle, target):
    with opening.opened(bundle, key=None) as verified:
        return kinds.write(layout, verified, target)


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_plain_gives_the_bundle_back_out_of_its_archive_too(rtx, tmp_path):
    archive.pack(rtx, tmp_path / "b.tar.zst")
    write(Layout.PLAIN, tmp_path / "b.tar.zst", tmp_path / "out")
    assert tree(tmp_path / "out") == tree(rtx)


def test_plans_of_tensorrt_are_served_by_tritons_tensorrt_backend(both, tmp_path):
    write(Layout.TRITON, both, tmp_path / "repository")
    assert sorted(tree(tmp_path / "repository")) == [
        "encoder/1/a.plan",
        "encoder/1/model.plan",
        "encoder/config.pbtxt",
    ]
    text = (tmp_path / "repository" / "encoder" / "config.pbtxt").read_text()
    assert 'platform: "tensorrt_plan"' in text
    assert "Triton verifies nothing" in text


def test_plans_of_tensorrt_rtx_are_served_through_the_runtime_and_labelled(rtx, tmp_path):
    write(Layout.TRITON, rtx, tmp_path / "repository")
    model = tmp_path / "repository" / "encoder"
    assert tree(model / "1" / "bundle") == tree(rtx)
    verify.verify(model / "1" / "bundle")
    text = (model / "config.pbtxt").read_text()
    assert text.startswith("# encoder: written by trt-pipeline from the bundle with core ")
    assert "# NOT served by Triton's TensorRT backend" in text
    names = {node.name for node in ast.walk(ast.parse((model / "1" / "model.py").read_text())) if hasattr(node, "name")}
    assert {"TritonPythonModel", "initialize", "execute", "finalize"} <= names


def test_an_engine_whose_name_leads_elsewhere_is_refused(tmp_path):
    bundles.write(tmp_path / "bundle", engine="../../outside")
    with pytest.raises(BundleError, match="is no name for a model of Triton"):
        write(Layout.TRITON, tmp_path / "bundle", tmp_path / "deep" / "er" / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "deep"]
    assert list((tmp_path / "deep" / "er").iterdir()) == []


def test_what_is_there_is_never_overwritten(rtx, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(BundleError) as caught:
        write(Layout.OCI, rtx, tmp_path / "out")
    assert str(caught.value) == (
        f"{tmp_path}/out: something is there already\n  hint: name a folder that does not exist"
    )


def test_the_oci_layout_holds_what_the_specification_asks_for(rtx, tmp_path):
    use = write(Layout.OCI, rtx, tmp_path / "oci")
    assert use.startswith(f"push it: oras cp --from-oci-layout {tmp_path}/oci:latest ")
    root = tmp_path / "oci"
    assert json.loads((root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((root / "index.json").read_text())["manifests"]
    assert entry["annotations"] == {"org.opencontainers.image.ref.name": "latest"}
    image = json.loads(blob(root, entry))
    assert (image["schemaVersion"], image["mediaType"]) == (2, "application/vnd.oci.image.manifest.v1+json")
    assert image["artifactType"] == entry["artifactType"] == "application/vnd.trt-pipeline.bundle.v1"
    assert image["config"] == {
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "size": 2,
    }
    assert blob(root, image["config"]) == b"{}"
    layers = {layer["annotations"]["org.opencontainers.image.title"]: blob(root, layer) for layer in image["layers"]}
    assert layers == tree(rtx)
    used = {item["digest"].removeprefix("sha256:") for item in (entry, image["config"], *image["layers"])}
    assert {path.name for path in (root / "blobs" / "sha256").iterdir()} == used


def test_the_same_bundle_gives_the_same_oci_bytes(rtx, tmp_path):
    for name in ("one", "two"):
        write(Layout.OCI, rtx, tmp_path / name)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def blob(root, descriptor):
    """The content of a blob, its digest and size compared."""
    content = (root / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()
    assert descriptor["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert descriptor["size"] == len(content)
    return content


def test_text_that_needs_escapes():
    message = {
        "name": 'a"b\\c\nd é',
        "flag": True,
        "many": [1, 2],
        "none": (),
        "inner": {"kind": pbtxt.Enum("KIND_GPU")},
    }
    assert pbtxt.dumps(message) == (
        'name: "a\\042b\\134c\\012d \\303\\251"\nflag: true\nmany: [1, 2]\nnone: []\ninner {\n  kind: KIND_GPU\n}\n'
    )
    with pytest.raises(TypeError, match="float has no text form"):
        pbtxt.dumps({"x": 1.5})


@pytest.mark.models
def test_tritons_own_schema_accepts_the_configurations_and_they_round_trip(rtx, both, tmp_path):
    python = environment(tmp_path / "triton", "tritonclient", "protobuf<7")
    paths = []
    for name, bundle in (("rtx", rtx), ("both", both)):
        write(Layout.TRITON, bundle, tmp_path / name)
        paths.append(str(tmp_path / name / "encoder" / "config.pbtxt"))
    found = subprocess.run([python, "-c", CHECK, *paths], capture_output=True, text=True, check=True)
    served, planned = (json.loads(line) for line in found.stdout.splitlines())
    assert (served["backend"], planned["platform"]) == ("python", "tensorrt_plan")
    assert planned["cc_model_filenames"] == {"8.0": "a.plan"}
    assert planned["instance_group"] == [{"count": 1, "kind": "KIND_GPU", "profile": ["0"]}]
    assert planned["optimization"]["cuda"]["graphs"] is True
    for config in (served, planned):
        assert config["max_batch_size"] == 4
        assert config["dynamic_batching"] == {"preferred_batch_size": [2, 4], "max_queue_delay_microseconds": "100"}
        assert [(item["name"], item["data_type"], item["dims"]) for item in config["input"]] == [
            ("x", "TYPE_FP32", ["-1", "64"]),
            ("mask", "TYPE_FP32", ["1", "1", "-1"]),
        ]
        assert [(item["name"], item["batch_size"]) for item in config["model_warmup"]] == [("opt", 2), ("min", 1)]


def environment(folder: Path, *packages: str) -> str:
    """An environment of its own: Triton's client wants another protobuf than this project."""
    venv.create(folder, symlinks=True)
    python = str(folder / "bin" / "python")
    command = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", *packages]
    subprocess.run(command, check=True, capture_output=True)
    return python
