"""What a search sees, and that nothing of it is among what it is judged by."""

import numpy as np
import pytest

from pipeline.analysis.search import held_out
from pipeline.core.artifacts import Samples, SampleSet
from pipeline.core.errors import CalibrationError
from pipeline.core.spec import InputSpec

INPUTS = {
    "ids": InputSpec(dtype="int64", axes=("batch", "sequence")),
    "mask": InputSpec(dtype="int64", axes=("batch", "sequence"), masks=("sequence",)),
}


def write(path, rows, length, **labels):
    """Rows of the number `row`, `1 + row % 3` tokens long, padded to `length`."""
    mask = np.array([[position < 1 + row % 3 for position in range(length)] for row in rows], np.int64)
    ids = np.array(rows, np.int64)[:, None] * mask
    np.savez(path, ids=ids, mask=mask, **labels)
    return path


def sample_set(*files, samples):
    return SampleSet(batches=files, samples=samples, source="rows", licence="CC0-1.0")


def rows(files):
    return [int(row[0]) for file in files for row in np.load(file)["ids"]]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "parts").mkdir()
    return tmp_path


def test_sets_that_share_nothing_are_taken_as_they_are(folder):
    task = write(folder / "t.npz", [20, 21], 3, **{"expected.label": np.array([0, 1])})
    samples = Samples(
        calibration=sample_set(write(folder / "a.npz", [1, 2], 4), write(folder / "b.npz", [3, 4], 4), samples=4),
        validation=sample_set(write(folder / "v.npz", [10, 11], 4), samples=2),
        task=sample_set(task, samples=2),
    )
    sides = held_out.divide(samples, INPUTS, 3, folder / "parts")
    assert rows(sides.seen) == [1, 2, 3]
    assert sides.seen_samples == 3
    assert sides.validation == samples.validation.batches
    assert sides.task == (task,)
    assert (sides.validation_samples, sides.task_samples) == (2, 2)


def test_padding_that_all_samples_of_a_part_share_is_cut_off_and_other_padding_stays(folder):
    samples = Samples(
        calibration=sample_set(write(folder / "a.npz", [3, 4, 5], 9), samples=3),
        validation=sample_set(write(folder / "v.npz", [10], 4), samples=1),
    )
    sides = held_out.divide(samples, INPUTS, 2, folder / "parts")
    assert np.load(sides.seen[0])["mask"].tolist() == [[1, 0], [1, 1]]


def test_samples_of_unlike_sizes_are_not_run_together(folder):
    """Sizes from 1 to 3 tokens, padded to 9: the longest may be twice as long as the shortest of its batch."""
    samples = Samples(
        calibration=sample_set(write(folder / "a.npz", [2, 3, 4, 5, 6], 9), samples=5),
        validation=sample_set(write(folder / "v.npz", [10], 4), samples=1),
    )
    sides = held_out.divide(samples, INPUTS, 5, folder / "parts")
    assert [np.load(file)["ids"][:, 0].tolist() for file in sides.seen] == [[3, 6, 4], [2, 5]]
    assert [np.load(file)["mask"].shape for file in sides.seen] == [(3, 2), (2, 3)]
    assert sides.seen_samples == 5


def test_a_sample_that_stands_in_several_sets_is_told_by_its_content_and_seen_by_one_side_only(folder):
    """Otherwise padded, in other batches: validation keeps it, and the task's copy of what was seen is left out."""
    labels = {"expected.label": np.array([7, 8, 9])}
    samples = Samples(
        calibration=sample_set(write(folder / "a.npz", [1, 2, 3], 3), samples=3),
        validation=sample_set(write(folder / "v.npz", [2], 8), samples=1),
        task=sample_set(write(folder / "t.npz", [3, 2, 9], 6, **labels), samples=3),
        overlap=True,
    )
    sides = held_out.divide(samples, INPUTS, 8, folder / "parts")
    assert sorted(rows(sides.seen)) == [1, 3]
    assert rows(sides.task) == [2, 9]
    assert np.load(sides.task[0])["expected.label"].tolist() == [8, 9]
    assert sides.task_samples == 2


def test_nothing_left_to_search_on_is_an_error(folder):
    batch = sample_set(write(folder / "a.npz", [1, 2], 3), samples=2)
    with pytest.raises(CalibrationError) as error:
        held_out.divide(Samples(calibration=batch, validation=batch, overlap=True), INPUTS, 8, folder / "parts")
    assert str(error.value) == (
        "rows: every calibration sample is a validation sample too, so that nothing is left to search on\n"
        "  hint: bring more samples, or lower calibration.validate_samples"
    )


def test_samples_are_counted_along_their_axis_wherever_it_stands(folder):
    inputs = {"state": InputSpec(dtype="float32", axes=(2, "batch", 3)), "rate": InputSpec(dtype="int64", axes=())}
    state = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    np.savez(folder / "a.npz", state=state, rate=np.array(16000))
    np.savez(folder / "v.npz", state=state[:, 1:2], rate=np.array(16000))
    samples = Samples(
        calibration=sample_set(folder / "a.npz", samples=4), validation=sample_set(folder / "v.npz", samples=1)
    )
    sides = held_out.divide(samples, inputs, 2, folder / "parts")
    assert np.array_equal(np.load(sides.seen[0])["state"], state[:, [0, 2]])
