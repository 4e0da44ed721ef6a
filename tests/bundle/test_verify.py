import json
import os

import pytest

from pipeline.bundle import container, schema, verify
from pipeline.core import serde
from pipeline.core.errors import BundleError
from tests import shipping


@pytest.fixture
def bundle(tmp_path):
    return shipping.shipped(tmp_path / "bundle")


def problems(bundle):
    with pytest.raises(BundleError) as caught:
        verify.verify(bundle)
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines()[1:-1]]


def change_manifest(bundle, change):
    path = bundle / "manifest.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def test_a_whole_bundle(bundle):
    found = verify.verify(bundle)
    assert found.checked[0].startswith("13 files, ")
    assert found.checked[1:] == (
        "header of tensorrt-rtx-sm86-sm89.plan: version and targets are those in the manifest",
        "precision.json is the recipe in the manifest",
        "attestation/report.json is about this precision plan and these weights, and has the verdict in the manifest",
        "attestation/provenance.intoto.json is about these files",
        "sbom.cdx.json lists these files",
    )
    assert found.warnings == ("not signed: damage is detected, tampering is not",)
    assert not found.trusted
    assert found.signed_by is None
    assert found.unvalidated == ()


def test_a_flipped_bit_in_any_file_is_found(bundle):
    for name in verify.read(bundle).files:
        path = bundle / name
        content = path.read_bytes()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        assert problems(bundle) == [f"{name}: its content does not have the digest in the manifest"]
        path.write_bytes(content)
    verify.verify(bundle)


def test_what_is_missing_truncated_added_or_linked_is_named(bundle):
    (bundle / "precision.json").unlink()
    size = (bundle / "model.onnx").stat().st_size
    (bundle / "model.onnx").write_bytes(b"")
    (bundle / "other.plan").write_bytes(b"")
    page = bundle / "attestation" / "report.html"
    (bundle.parent / "elsewhere").write_bytes(page.read_bytes())
    page.unlink()
    page.symlink_to(bundle.parent / "elsewhere")
    (bundle / "folder").symlink_to(bundle.parent)
    assert problems(bundle) == [
        "attestation/report.html: not a plain file",
        "folder: a link to a folder",
        f"model.onnx: 0 bytes, expected {size}",
        "other.plan: not in the manifest",
        "precision.json: missing",
    ]


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


def test_a_flipped_bit_anywhere_in_a_manifest_that_nobody_signed_is_found(bundle):
    path = bundle / "manifest.json"
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1 << position % 8]) + content[position + 1 :])
        with pytest.raises(BundleError, match="not a valid manifest: "):
            verify.read(bundle)
    path.write_bytes(content)
    verify.verify(bundle)


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError) as caught:
        verify.verify(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/manifest.json: no readable manifest: No such file or directory\n"
        "  hint: a bundle is a folder or a .tar.zst that holds manifest.json"
    )


def test_a_huge_manifest_is_not_read(bundle):
    os.truncate(bundle / "manifest.json", container.MANIFEST_LIMIT + 1)
    with pytest.raises(BundleError, match="larger than 16 MiB: not a manifest"):
        verify.read(bundle)


def test_the_published_schema_is_the_manifests(bundle):
    assert schema.FILE.read_text(encoding="utf-8") == schema.current(), (
        "write it anew from pipeline.bundle.schema.current()"
    )
    assert sorted(serde.to_value(verify.read(bundle))) == json.loads(schema.current())["required"]
