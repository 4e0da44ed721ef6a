import pickle
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline.core.artifacts import SampleSet
from pipeline.core.errors import CalibrationError
from pipeline.data import files
from pipeline.data.batches import Batch
from tests.batches import load_all

BATCH = Batch(
    inputs={"ids": np.arange(6).reshape(2, 3), "rate": np.asarray(16000)},
    expected={"label": np.asarray([1, 0])},
)


def test_equal_batches_are_equal_bytes_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = files.write(tmp_path, 0, BATCH).read_bytes()
    monkeypatch.setattr(time, "time", lambda: 2e9)
    assert files.write(tmp_path, 1, BATCH).read_bytes() == first


def test_a_batch_is_read_as_it_was_written(tmp_path: Path) -> None:
    paths = (files.write(tmp_path, 0, BATCH), files.write(tmp_path, 1, BATCH))
    assert [path.name for path in paths] == ["batch_0000.npz", "batch_0001.npz"]
    found = list(load_all(SampleSet(batches=paths, samples=4, source="test", licence="CC0-1.0")))
    assert len(found) == 2
    assert list(found[1].inputs) == ["ids", "rate"]
    assert list(found[1].expected) == ["label"]
    np.testing.assert_array_equal(found[1].inputs["ids"], BATCH.inputs["ids"])
    assert found[1].inputs["rate"].shape == ()


@given(array=hnp.arrays(st.sampled_from([np.float32, np.int64, np.bool_]), hnp.array_shapes(min_dims=0, max_dims=4)))
def test_every_array_keeps_type_shape_and_bits(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray) -> None:
    path = tmp_path_factory.mktemp("npz") / "x.npz"
    files.save_npz(path, {"x": array, "y": array.copy(order="F")})
    for found in files.load_npz(path).values():
        assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_what_is_no_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    path.write_bytes(b"hello")
    with pytest.raises(CalibrationError, match=r"not an npz of plain arrays") as caught:
        files.load_npz(path)
    assert caught.value.hint == ("write it with numpy.savez, one array an input; arrays of Python objects are refused")


def test_a_pickle_in_an_npz_is_never_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"

    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (marker,)

    np.savez(tmp_path / "x.npz", x=np.asarray([Bomb()], dtype=object))
    (tmp_path / "y.npz").write_bytes(pickle.dumps(Bomb()))
    for name in ("x.npz", "y.npz"):
        with pytest.raises(CalibrationError, match="not an npz of plain arrays"):
            files.load_npz(tmp_path / name)
    assert not marker.exists()
