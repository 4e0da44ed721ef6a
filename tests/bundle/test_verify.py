import json
import os

import pytest

from pipeline.bundle import schema, verify
from pipeline.core import serde
from pipeline.core.errors import BundleError
from pipeline.core.progress import Silent
from pipeline.stages.render import render
from pipeline.stages.ship import ship
from tests import records


@pytest.fixture
def bundle(tmp_path):
    plans, report, plan = records.plans(tmp_path / "x.plan"), records.report(), records.precision()
    written, out = tmp_path / "written", tmp_path / "out"
    written.mkdir()
    out.mkdir()
    return ship(
        name="tiny",
        axes={},
        weights=records.weights(tmp_path / "weights"),
        tokenizer=None,
        mixed=records.mixed(tmp_path / "mixed"),
        plan=plan,
        plans=plans,
        report=report,
        rendered=render(report, plan, plans, out=written, progress=Silent()),
        out=out,
        progress=Silent(),
    ).folder


def change_manifest(bundle, change):
    path = bundle / "manifest.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def test_a_whole_bundle(bundle):
    check = verify.verify(bundle)
    assert check.passed
    assert check.summary.startswith("9 files, ")


def test_a_flipped_bit_in_any_file_is_found(bundle):
    for name in verify.read(bundle).files:
        path = bundle / name
        content = path.read_bytes()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        assert verify.verify(bundle).problems == (f"{name}: its content does not have the digest in the manifest",)
        path.write_bytes(content)
    assert verify.verify(bundle).passed


def test_what_is_missing_truncated_added_or_linked_is_named(bundle):
    (bundle / "precision.json").unlink()
    (bundle / "model.onnx").write_bytes(b"")
    (bundle / "other.plan").write_bytes(b"")
    report = (bundle / "report.html").read_bytes()
    (bundle / "report.html").unlink()
    (bundle.parent / "elsewhere").write_bytes(report)
    (bundle / "report.html").symlink_to(bundle.parent / "elsewhere")
    (bundle / "folder").symlink_to(bundle.parent)
    assert verify.verify(bundle).problems == (
        "folder: a link to a folder",
        "other.plan: not in the manifest",
        "model.onnx: 0 bytes, expected 5",
        "precision.json: missing",
        "report.html: not a plain file",
    )


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "./x", "a//b", "a\\b", "", ".."])
def test_a_manifest_that_names_paths_outside_is_refused_before_any_is_touched(bundle, name):
    change_manifest(bundle, lambda fields: fields["files"].update({name: fields["files"]["README.md"]}))
    with pytest.raises(BundleError, match="files names paths outside the bundle"):
        verify.verify(bundle)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.pop("plans"),
        lambda fields: fields.update(plans=[]),
        lambda fields: fields["files"]["README.md"].update(sha256="x"),
        lambda fields: fields["files"]["README.md"].update(size=-1),
        lambda fields: fields["graph"].update(path="gone.onnx"),
        lambda fields: fields.update(engine=["a"]),
    ],
)
def test_an_invalid_manifest_is_refused(bundle, change):
    change_manifest(bundle, change)
    with pytest.raises(BundleError, match="not a valid manifest"):
        verify.read(bundle)


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError) as caught:
        verify.verify(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/manifest.json: no readable manifest: No such file or directory\n"
        "  hint: a bundle is a folder that holds manifest.json"
    )


def test_a_huge_manifest_is_not_read(bundle):
    os.truncate(bundle / "manifest.json", verify.MANIFEST_LIMIT + 1)
    with pytest.raises(BundleError, match="larger than 16 MiB: not a manifest"):
        verify.read(bundle)


def test_the_published_schema_is_the_manifests(bundle):
    assert schema.FILE.read_text(encoding="utf-8") == schema.current(), (
        "write it anew from pipeline.bundle.schema.current()"
    )
    assert sorted(serde.to_value(verify.read(bundle))) == json.loads(schema.current())["required"]
