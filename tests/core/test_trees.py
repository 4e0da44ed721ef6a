import os

import pytest

from pipeline.core import trees
from pipeline.core.errors import SourceError


def test_the_folder_of_a_checkpoint_does_not_count_its_content_does(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    seen = tmp_path / "seen"
    one, two = (trees.checkpoint_tree(tmp_path / name, seen) for name in ("one", "two"))
    assert one.digest == two.digest
    assert one.folder != two.folder
    (tmp_path / "two" / "model.safetensors").write_bytes(b"weightz")
    assert trees.checkpoint_tree(tmp_path / "two", seen).digest != one.digest


def test_an_unchanged_checkpoint_is_not_read_again(tmp_path):
    path = tmp_path / "checkpoint" / "model.pt"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    first = trees.checkpoint_tree(path.parent, tmp_path / "seen")
    stat = path.stat()
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert trees.checkpoint_tree(path.parent, tmp_path / "seen") == first


def test_a_damaged_record_of_a_checkpoint_is_not_believed(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(b"weights")
    first = trees.checkpoint_tree(path, tmp_path / "seen")
    (memory,) = (tmp_path / "seen").iterdir()
    whole = memory.read_bytes()
    for position in range(len(whole)):
        memory.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert trees.checkpoint_tree(path, tmp_path / "seen") == first
        assert memory.read_bytes() == whole


def test_beside_a_file_only_what_belongs_to_it_comes_along(tmp_path):
    others = ("holiday.jpg", "other.pt", "baseline.json", "engine.toml")
    for name in ("model.onnx", "model.onnx.data", "config.json", "vocab.txt", *others):
        (tmp_path / name).write_bytes(b"")
    files = [path.name for path in trees.checkpoint_files(tmp_path / "model.onnx")]
    assert files == ["config.json", "model.onnx", "model.onnx.data", "vocab.txt"]


def test_a_missing_checkpoint_is_said(tmp_path):
    with pytest.raises(SourceError) as caught:
        trees.checkpoint_tree(tmp_path / "nowhere", tmp_path / "seen")
    assert str(caught.value) == (
        f"{tmp_path}/nowhere: no such checkpoint\n"
        "  hint: WEIGHTS is auto, pretrained, seeded, or the path of a checkpoint"
    )
