import time
from pathlib import Path

import numpy as np
import pytest

from pipeline.core.artifacts import SampleSet
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
