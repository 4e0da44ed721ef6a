"""Bundles that were damaged or made to do harm: each is refused in words, quickly, and nothing is written anywhere."""

import io
import random
import shutil
import tarfile

import pytest
import zstandard

from pipeline.bundle import archive, verify
from pipeline.core.errors import BundleError
from tests import bundles

CUTS, FLIPS = 12, 25
BOMB = 8 << 30
"""Bytes of zeros in the bomb; compressed they are a fraction of a megabyte."""


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / "bundle"
    bundles.write(folder)
    archive.pack(folder, folder.parent / "bundle.tar.zst")
    verify.verify(folder)
    verify.verify(folder.parent / "bundle.tar.zst")
    return folder


def refused(bundle):
    before = sorted(bundle.parent.rglob("*"))
    with pytest.raises(BundleError) as caught:
        verify.verify(bundle)
    assert sorted(bundle.parent.rglob("*")) == before
    return str(caught.value)


def test_truncated_and_flipped_archives(good, tmp_path, record_property):
    data, chance = (good.parent / "bundle.tar.zst").read_bytes(), random.Random(1)
    target = tmp_path / "bundle.tar.zst"
    for _ in range(CUTS):
        target.write_bytes(data[: chance.randrange(len(data))])
        refused(target)
    for _ in range(FLIPS):
        at = chance.randrange(len(data))
        target.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        refused(target)
    target.write_bytes(data + b"more")
    refused(target)
    record_property("hostile inputs", CUTS + FLIPS + 1)


def test_truncated_flipped_and_oversized_files(good, tmp_path, record_property):
    chance, tried = random.Random(2), 0
    for path in sorted(item for item in good.rglob("*") if item.is_file()):
        for change in ("cut", "flip", "grow"):
            copy = tmp_path / f"{tried}" / "bundle"
            shutil.copytree(good, copy)
            victim, tried = copy / path.relative_to(good), tried + 1
            data = victim.read_bytes()
            at = chance.randrange(len(data))
            flipped = data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]
            victim.write_bytes({"cut": data[:at], "flip": flipped, "grow": data + b" "}[change])
            refused(copy)
            shutil.rmtree(copy)
    record_property("hostile inputs", tried)


def test_the_manifest_of_another_bundle(good, tmp_path):
    other = tmp_path / "other"
    bundles.write(other, extra={"README.md": b"another"})
    copy = tmp_path / "bundle"
    shutil.copytree(good, copy)
    shutil.copyfile(other / "manifest.json", copy / "manifest.json")
    assert "README.md" in refused(copy)


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../outside", "manifest.json/../../outside"])
def test_an_archive_that_names_paths_outside(good, tmp_path, name):
    refused(_archive(tmp_path, [("manifest.json", (good / "manifest.json").read_bytes()), (name, b"x")]))
    assert not (tmp_path.parent / "outside").exists()


def test_an_archive_with_a_link(good, tmp_path):
    link = tarfile.TarInfo("model.onnx")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    refused(_archive(tmp_path, [("manifest.json", (good / "manifest.json").read_bytes())], extra=[link]))


def test_a_bomb_is_refused_without_being_unpacked(tmp_path):
    parameters = zstandard.ZstdCompressionParameters.from_level(
        archive.LEVEL, window_log=archive.WINDOW_LOG, write_checksum=True, write_content_size=False
    )
    info = tarfile.TarInfo("manifest.json")
    info.size = BOMB
    target = tmp_path / "bundle.tar.zst"
    with target.open("wb") as file, zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file) as out:
        out.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(24):
            out.write(bytes(1 << 20))
    assert refused(target) == f"{target}: manifest.json is larger than 16 MiB"


def _archive(tmp_path, files, extra=()):
    parameters = zstandard.ZstdCompressionParameters.from_level(
        archive.LEVEL, window_log=archive.WINDOW_LOG, write_checksum=True, write_content_size=False
    )
    body = io.BytesIO()
    for name, content in files:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        body.write(info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512))
    for info in extra:
        body.write(info.tobuf(tarfile.GNU_FORMAT))
    target = tmp_path / "bundle.tar.zst"
    with target.open("wb") as file, zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file) as out:
        out.write(body.getvalue() + bytes(1024))
    return target
