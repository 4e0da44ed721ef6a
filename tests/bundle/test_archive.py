import hashlib
import json
import random
import shutil
import tarfile

import pytest
import zstandard

from pipeline.bundle import archive, verify
from pipeline.core.errors import BundleError, ShipError
from tests import shipping


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle as a folder and as one file."""
    folder = tmp_path_factory.mktemp("packed")
    bundle = shipping.shipped(folder / "bundle")
    archive.pack(bundle, folder / "bundle.tar.zst")
    return bundle, folder / "bundle.tar.zst"


def compressed(plain, target):
    """`plain` in a frame as `pack` writes it."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        archive.LEVEL, window_log=archive.WINDOW_LOG, write_checksum=True, write_content_size=False
    )
    with target.open("wb") as file, zstandard.ZstdCompressor(compression_params=parameters).stream_writer(file) as out:
        for piece in plain:
            out.write(piece)
    return sealed(target)


def sealed(target):
    content = target.read_bytes()
    target.write_bytes(content + archive.SEAL + hashlib.sha256(content).digest())
    return target


def tar(*members, mode=tarfile.GNU_FORMAT):
    """A tar of (TarInfo, content) pairs."""
    content = b"".join(info.tobuf(mode) + data + bytes(-len(data) % 512) for info, data in members)
    return content + bytes(1024)


def entry(name, data=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def refusal(path):
    with pytest.raises(BundleError) as caught:
        verify.verify(path)
    return str(caught.value)


def test_both_forms_are_the_same_bundle(made):
    bundle, packed = made
    assert verify.verify(packed) == verify.verify(bundle)
    assert verify.read(packed) == verify.read(bundle)


def test_the_same_bundle_gives_the_same_bytes(made, tmp_path, monkeypatch):
    bundle, packed = made
    copy = shutil.copytree(bundle, tmp_path / "elsewhere")
    archive.pack(copy, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == packed.read_bytes()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    archive.pack(copy, tmp_path / "dated")
    assert (tmp_path / "dated").read_bytes() != packed.read_bytes()
    assert verify.verify(tmp_path / "dated") == verify.verify(packed)


def test_any_tar_reads_it(made):
    _, packed = made
    with zstandard.open(packed) as stream, tarfile.open(fileobj=stream, mode="r|") as members:
        found = [(item.name, item.mode, item.mtime, item.uid, item.gid) for item in members]
    assert found[0][0] == "manifest.json"
    assert [name for name, *_ in found[1:]] == sorted(name for name, *_ in found[1:])
    assert {rest for _, *rest in map(tuple, found) for rest in [tuple(rest)]} == {(0o644, 0, 0, 0)}


def test_source_date_epoch_must_be_seconds(made, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ShipError) as caught:
        archive.pack(made[0], tmp_path / "x")
    assert str(caught.value) == ("SOURCE_DATE_EPOCH: not a number of seconds: 'yesterday'\n  hint: such as 1767225600")


def test_unpacking_gives_the_folder_back(made, tmp_path):
    bundle, packed = made
    archive.unpack(packed, tmp_path / "out", allowed=verify.read(packed))
    assert verify.verify(tmp_path / "out") == verify.verify(bundle)
    with pytest.raises(BundleError, match="cannot unpack there: File exists"):
        archive.unpack(packed, tmp_path / "out", allowed=verify.read(packed))


def test_a_flipped_bit_is_refused(made, tmp_path):
    _, packed = made
    content, target = packed.read_bytes(), tmp_path / "flipped.tar.zst"
    chance = random.Random(0)
    positions = [*range(16), *(chance.randrange(len(content)) for _ in range(24)), len(content) - 1]
    for position in positions:
        target.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        refusal(target)


def test_a_bit_that_stands_for_nothing_in_the_compressed_data_is_refused_too(made, tmp_path):
    """Every bit of the tables at the beginning, of which zstd leaves some without a meaning, and of the seal."""
    content, target = made[1].read_bytes(), tmp_path / "flipped.tar.zst"
    ends = [*range(8 * 64), *range(8 * (len(content) - 40), 8 * len(content))]
    for bit in ends:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        target.write_bytes(flipped)
        refusal(target)


def test_other_readers_skip_the_seal(made):
    plain = zstandard.ZstdDecompressor().stream_reader(made[1].read_bytes(), read_across_frames=True).read()
    assert len(plain) % 512 == 0
    assert made[1].read_bytes()[-40:-32] == archive.SEAL


def test_a_truncated_or_longer_archive_is_refused(made, tmp_path):
    _, packed = made
    content, target = packed.read_bytes(), tmp_path / "cut.tar.zst"
    for length in (0, 3, 6, 100, len(content) // 2, len(content) - 1):
        target.write_bytes(content[:length])
        assert ("truncated" if length >= len(archive.FRAME) else "not an archive") in refusal(target)
    for more in (b"\0", content):
        target.write_bytes(content + more)
        assert "something follows the archive" in refusal(target)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../x", "a//b", "."])
def test_a_path_outside_is_refused_before_anything_is_written(made, tmp_path, name):
    manifest = entry("manifest.json", (made[0] / "manifest.json").read_bytes())
    target = compressed([tar(manifest, entry(name, b"x"))], tmp_path / "x.tar.zst")
    assert "outside the bundle" in refusal(target) or "not a plain file" in refusal(target)
    with pytest.raises(BundleError):
        archive.unpack(target, tmp_path / "out", allowed=verify.read(made[0]))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.json"]


@pytest.mark.parametrize(
    "fields",
    [
        {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"},
        {"type": tarfile.LNKTYPE, "linkname": "manifest.json"},
        {"type": tarfile.CHRTYPE},
        {"type": tarfile.DIRTYPE},
        {"type": tarfile.GNUTYPE_LONGNAME},
        {"type": tarfile.XHDTYPE},
        {"mode": 0o4755},
        {"uname": "root"},
    ],
)
def test_what_is_no_plain_file_is_refused(made, tmp_path, fields):
    manifest = entry("manifest.json", (made[0] / "manifest.json").read_bytes())
    target = compressed([tar(manifest, entry("model.onnx", b"x", **fields))], tmp_path / "x.tar.zst")
    assert "is not a plain file as trt-pipeline writes them" in refusal(target)


def test_a_bomb_is_refused_without_being_blown_up(made, tmp_path):
    """A gibibyte of zeros in 40 kB: its first header already says that it is not what the manifest names."""
    manifest = entry("manifest.json", (made[0] / "manifest.json").read_bytes())
    info, _ = entry("model.onnx")
    info.size = 1 << 30
    head = manifest[0].tobuf(tarfile.GNU_FORMAT) + manifest[1] + bytes(-len(manifest[1]) % 512)
    pieces = [head, info.tobuf(tarfile.GNU_FORMAT), *([bytes(1 << 20)] * 64)]
    target = compressed(pieces, tmp_path / "bomb.tar.zst")
    assert target.stat().st_size < 100_000
    with pytest.raises(BundleError, match=r"model\.onnx is not what the manifest names"):
        archive.unpack(target, tmp_path / "out", allowed=verify.read(made[0]))
    assert not (tmp_path / "out" / "model.onnx").exists()
    assert "truncated" in refusal(target)


def test_a_huge_manifest_is_not_read(tmp_path):
    info, _ = entry("manifest.json")
    info.size = 1 << 40
    target = compressed([info.tobuf(tarfile.GNU_FORMAT), bytes(1 << 20)], tmp_path / "x.tar.zst")
    assert "manifest.json is larger than 16 MiB" in refusal(target)


def test_a_file_that_comes_twice_is_refused(made, tmp_path):
    with zstandard.open(made[1]) as stream:
        plain = stream.read()
    again = plain[: -2 * 512]
    first = json.loads((made[0] / "manifest.json").read_text())["files"]["model.onnx"]["size"]
    model = tar(entry("model.onnx", (made[0] / "model.onnx").read_bytes()))
    assert first == len((made[0] / "model.onnx").read_bytes())
    assert "model.onnx: there twice" in refusal(compressed([again, model], tmp_path / "x.tar.zst"))


@pytest.mark.parametrize("content", [b"", b"PK\3\4", hashlib.sha256(b"x").digest() * 100])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    assert refusal(tmp_path / "x") == (
        f"{tmp_path}/x: not an archive that trt-pipeline writes\n  hint: a bundle's file is *.tar.zst"
    )


def test_an_archive_that_begins_with_something_else_is_refused(made, tmp_path):
    target = compressed([tar(entry("model.onnx", b"x"))], tmp_path / "x.tar.zst")
    assert "the archive does not begin with manifest.json" in refusal(target)
