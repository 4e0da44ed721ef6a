import pytest

from pipeline.backends.tensorrt import timing_cache


def build(folder, own, gpu="NVIDIA L4", adds=b""):
    """What a build does with its cache: begin with what is there, and write back more."""
    with timing_cache.shared(folder, gpu, own):
        found = own.read_bytes() if own.exists() else b""
        own.write_bytes(found + adds)
    return found


def test_the_next_build_begins_with_what_the_last_one_measured(tmp_path):
    kept = tmp_path / "kept"
    assert build(kept, tmp_path / "first", adds=b"a") == b""
    assert build(kept, tmp_path / "second", adds=b"b") == b"a"
    assert build(kept, tmp_path / "third") == b"ab"
    assert len(list(kept.iterdir())) == 1


def test_timings_of_another_gpu_do_not_count(tmp_path):
    kept = tmp_path / "kept"
    build(kept, tmp_path / "first", adds=b"a")
    assert build(kept, tmp_path / "second", gpu="NVIDIA H100") == b""


def test_a_build_that_fails_changes_nothing_that_is_kept(tmp_path):
    kept, own = tmp_path / "kept", tmp_path / "own"
    build(kept, tmp_path / "first", adds=b"a")
    with pytest.raises(ZeroDivisionError):
        _fail(kept, own)
    assert build(kept, tmp_path / "second") == b"a"


def _fail(kept, own):
    with timing_cache.shared(kept, "NVIDIA L4", own):
        own.write_bytes(b"half" * (1 // 0))


def test_without_a_place_nothing_is_kept(tmp_path):
    assert build(None, tmp_path / "own", adds=b"a") == b""
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
