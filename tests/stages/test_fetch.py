import pytest

from pipeline.core import digest
from pipeline.core.artifacts import SourceTree
from pipeline.core.errors import SpecError, Unreachable
from pipeline.core.progress import Silent
from pipeline.core.spec import ModelSpec, Source, WeightsSource
from pipeline.stages.fetch import fetch
from pipeline.stages.seed import seed


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "mine" / "checkpoint"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "config").write_text("private")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_local_folder_is_copied_without_telling_where_it_lay(checkpoint, out, tmp_path):
    found = fetch(
        WeightsSource(licence="MIT"), SourceTree(folder=checkpoint, digest="d" * 64), out=out, progress=Silent()
    )
    assert found.checkpoint == out / "local"
    assert found.tokenizer == out / "local"
    assert sorted(path.name for path in found.checkpoint.iterdir()) == ["model.safetensors", "tokenizer.json"]
    assert found.provenance.source == "local:checkpoint@dddddddddddd"
    assert found.provenance.licence == "MIT"
    assert found.provenance.real
    assert str(tmp_path) not in repr(found.provenance)


def test_a_local_file_brings_what_lies_beside_it(checkpoint, out):
    tree = SourceTree(folder=checkpoint / "model.safetensors", digest="d" * 64)
    found = fetch(WeightsSource(licence="MIT"), tree, out=out, progress=Silent())
    assert found.checkpoint == out / "local" / "model.safetensors"
    assert found.tokenizer == out / "local"
    assert found.provenance.digest == digest.of_bytes(b"weights")


def test_a_local_checkpoint_goes_before_the_hub(checkpoint, out, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    source = WeightsSource(hub="owner/name", revision="0" * 40, licence="MIT")
    assert fetch(source, SourceTree(folder=checkpoint, digest="d"), out=out, progress=Silent()).provenance.real
    with pytest.raises(Unreachable, match="the Hugging Face hub cannot be reached"):
        fetch(source, None, out=out, progress=Silent())


def test_seeding_needs_a_configuration(out, tmp_path):
    model = ModelSpec(source=Source.TRANSFORMERS, architecture="AutoModel", weights=WeightsSource(licence="MIT"))
    with pytest.raises(SpecError) as caught:
        seed(model, SourceTree(folder=tmp_path, digest="0"), out=out, progress=Silent())
    assert str(caught.value) == "model.config: missing; seeded weights need a configuration"
