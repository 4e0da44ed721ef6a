from pathlib import Path

import numpy as np
import pytest

from pipeline.core.errors import CalibrationError
from pipeline.core.spec import AxisRange, DataSource, InputSpec, Reader
from pipeline.data import npz, readers
from pipeline.data.samples import Request

INPUTS = {
    "state": InputSpec(dtype="float32", axes=(2, "batch", 3)),
    "rate": InputSpec(dtype="int64", axes=()),
}
AXES = {"batch": AxisRange(min=1, opt=2, max=4)}


def request(folder: Path, path: str) -> Request:
    return Request(
        data=DataSource(reader=Reader.NPZ, path=path, licence="MIT"),
        folder=folder,
        engine=folder,
        inputs=INPUTS,
        axes=AXES,
    )


def refusal(found: Request) -> str:
    with pytest.raises(CalibrationError) as caught:
        list(npz.read(found))
    return str(caught.value)


def arrays(batch: int) -> dict[str, np.ndarray]:
    state = np.arange(6 * batch, dtype=np.float32).reshape(2, batch, 3)
    return {"state": state, "rate": np.asarray(16000), "expected.label": np.arange(batch)}


def test_files_of_a_folder_are_cut_into_samples_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", **arrays(1))
    np.savez(tmp_path / "a.npz", **arrays(3))
    (tmp_path / "notes.txt").write_text("not data")
    found = list(readers.read(request(tmp_path, ".")))
    assert [sample.name for sample in found] == ["a.npz[0]", "a.npz[1]", "a.npz[2]", "b.npz[0]"]
    np.testing.assert_array_equal(found[1].inputs["state"], arrays(3)["state"][:, 1])
    assert [int(sample.expected["label"]) for sample in found] == [0, 1, 2, 0]
    assert found[3].inputs["rate"] == 16000


def test_one_file_will_do(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays(2))
    assert len(list(npz.read(request(tmp_path, "a.npz")))) == 2


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    assert refusal(request(tmp_path, "none.npz")) == (
        "none.npz: no such file or folder\n  hint: `data.path` names it; see calibration/README.md"
    )


def test_arrays_must_hold_equally_many_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{**arrays(2), "expected.label": np.arange(3)})
    assert refusal(request(tmp_path, "a.npz")) == ("a.npz: arrays differ in batch size: state 2, expected.label 3")


def test_an_array_without_its_batch_axis_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{**arrays(2), "state": np.ones(3, np.float32)})
    assert refusal(request(tmp_path, "a.npz")) == (
        "a.npz: state has 1 axes, and its batch axis is axis 1\n"
        "  hint: arrays in an npz have their batch axis, also where they hold one sample"
    )


def test_an_array_that_the_model_lacks_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{**arrays(2), "noise": np.ones(2)})
    with pytest.raises(CalibrationError) as caught:
        list(readers.read(request(tmp_path, "a.npz")))
    assert str(caught.value).splitlines()[0] == "a.npz[0]: the sample has noise"


def test_empty_arrays_hold_no_samples(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays(0))
    np.savez(tmp_path / "b.npz")
    assert list(npz.read(request(tmp_path, "."))) == []
