import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.artifacts import Files, Samples, SourceTree
from pipeline.core.errors import CalibrationError
from pipeline.core.spec import AxisRange, CalibrationSpec, DataSource, InputSpec, Metric, Reader, TaskSpec
from pipeline.stages.sample import sample
from tests.batches import load_all

INPUTS = {
    "signal": InputSpec(dtype="float32", axes=("batch", "time")),
    "mask": InputSpec(dtype="bool", axes=("batch", "time"), masks=("time",)),
}
AXES = {"batch": AxisRange(min=1, opt=2, max=4), "time": AxisRange(min=2, opt=4, max=8)}
CODE = """
import json
import numpy as np

def samples(request):
    for length, label in json.loads(request.path.read_text()):
        found = {"signal": np.full(length, length, np.float32), "mask": np.ones(length, bool)}
        yield found if label is None else {**found, "expected.label": label}
"""


class Told:
    """Keeps what a stage says."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.steps: list[tuple[str, float]] = []

    def advance(self, what: str, done: float, total: float | None = None) -> None:
        self.steps.append((what, done))

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def source(**changes: Any) -> DataSource:
    return replace(
        DataSource(reader=Reader.CALLABLE, callable="data.py:samples", path="rows.json", licence="CC0-1.0"), **changes
    )


def run(
    folder: Path,
    rows: list[tuple[int, int | None]],
    *,
    calibration: CalibrationSpec | None = None,
    task: TaskSpec | None = None,
    inputs: Mapping[str, InputSpec] = INPUTS,
    files: Files | None = None,
    told: Told | None = None,
    out: str = "out",
) -> Samples:
    (folder / "data.py").write_text(CODE)
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / out).mkdir()
    tree = SourceTree(folder=folder, digest="")
    return sample(
        calibration=calibration or CalibrationSpec(data=source(), samples=4, batch=2, validate_samples=2),
        task=task,
        inputs=dict(inputs),
        axes=AXES,
        tokenizer=None,
        calibration_files=None,
        task_files=files,
        engine=tree,
        repository=tree,
        out=folder / out,
        progress=told or Told(),
    )


def lengths(samples: Samples, which: str) -> list[int]:
    """True length of every sample of a set, in order."""
    return [int(row.sum()) for batch in load_all(getattr(samples, which)) for row in batch.inputs["mask"]]


ROWS: list[tuple[int, int | None]] = [(1, 0), (5, 1), (3, 1), (8, 0), (2, 1), (7, 0), (4, 1)]


def test_validation_follows_calibration(tmp_path: Path) -> None:
    told = Told()
    found = run(tmp_path, ROWS, told=told)
    assert lengths(found, "calibration") == [1, 5, 3, 8]
    assert lengths(found, "validation") == [2, 7]
    assert (found.overlap, found.task, told.warnings) == (False, None, [])
    assert (found.calibration.samples, found.calibration.source, found.calibration.licence) == (
        4,
        "rows.json",
        "CC0-1.0",
    )
    assert [path.relative_to(tmp_path / "out").as_posix() for path in found.calibration.batches] == [
        "calibration/batch_0000.npz",
        "calibration/batch_0001.npz",
    ]
    assert told.steps == [("samples (calibration)", 2), ("samples (calibration)", 4), ("samples (validation)", 2)]


def test_batches_are_padded_within_the_profile(tmp_path: Path) -> None:
    found = run(tmp_path, [(1, 0), (1, 0), *ROWS])
    shapes = [batch.inputs["signal"].shape for batch in load_all(found.calibration)]
    assert shapes == [(2, 2), (2, 5)]
    for batch in load_all(found.calibration):
        assert (batch.inputs["signal"][~batch.inputs["mask"]] == 0).all()


def test_a_set_too_small_for_both_says_so(tmp_path: Path) -> None:
    told = Told()
    found = run(tmp_path, ROWS[:5], told=told)
    assert lengths(found, "calibration") == [1, 5, 3, 8]
    assert lengths(found, "validation") == [1, 5]
    assert found.overlap
    assert told.warnings == [
        "rows.json: holds 5 samples, too few for 4 to calibrate and 2 others to validate on: "
        "validation uses calibration samples"
    ]


def test_fewer_samples_than_asked_for_are_mentioned(tmp_path: Path) -> None:
    told = Told()
    assert run(tmp_path, ROWS[:3], told=told).calibration.samples == 3
    assert told.warnings[0] == "rows.json: holds 3 samples, calibration.samples asks for 4"


def test_data_without_padding_is_mentioned(tmp_path: Path) -> None:
    told = Told()
    run(tmp_path, [(4, 0)] * 6, told=told)
    assert told.warnings == [
        "rows.json: no calibration batch holds padding, so what the mask hides is never seen",
        "rows.json: no validation batch holds padding, so what the mask hides is never seen",
    ]


def test_equal_data_is_equal_bytes(tmp_path: Path) -> None:
    one, other = run(tmp_path, ROWS, out="one"), run(tmp_path, ROWS, out="other")
    pairs = list(zip(one.calibration.batches, other.calibration.batches, strict=True))
    assert all(first.read_bytes() == second.read_bytes() for first, second in pairs)


@pytest.mark.parametrize(("limit", "count"), [(0, 7), (5, 5), (99, 7)])
def test_the_task_takes_as_many_as_it_names_or_all(tmp_path: Path, limit: int, count: int) -> None:
    task = TaskSpec(metric=Metric.SPEECH, data=source(), tolerance=0.0, samples=limit, batch=3)
    found = run(tmp_path, ROWS, task=task).task
    assert found is not None
    assert found.samples == count
    labels = np.concatenate([batch.expected["label"] for batch in load_all(found)])
    assert labels.tolist() == [label for _, label in ROWS[:count]]


def test_package_data_is_found_where_the_packages_lie(tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    folder.mkdir()
    (folder / "inside.json").write_text("[[3, 1]]")
    task = TaskSpec(metric=Metric.TOP1, data=source(path="inside.json", licence="MIT"), tolerance=0.0)
    found = run(tmp_path, ROWS, task=task, files=Files(folder=folder, source="pypi:x==1", licence="MIT")).task
    assert found is not None
    assert (found.samples, found.source, found.licence) == (1, "inside.json", "MIT")


def test_no_samples_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError) as caught:
        run(tmp_path, [])
    assert str(caught.value) == (
        "rows.json: holds no samples\n  hint: calibration.data names the data; "
        "random data is never put in its place (see calibration/README.md)"
    )


def test_a_task_without_samples_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("[]")
    task = TaskSpec(metric=Metric.PERPLEXITY, data=source(path="none.json"), tolerance=0.0)
    with pytest.raises(CalibrationError, match=r"^none\.json: holds no samples\n  hint: task\.data names the data"):
        run(tmp_path, ROWS, task=task)


def test_a_metric_that_needs_labels_gets_them_or_an_error(tmp_path: Path) -> None:
    task = TaskSpec(metric=Metric.AGREEMENT, data=source(), tolerance=0.0)
    with pytest.raises(CalibrationError) as caught:
        run(tmp_path, [*ROWS, (3, None)], task=task)
    assert str(caught.value) == (
        "data.py:samples[7]: no label, which the metric 'agreement' needs\n"
        "  hint: see calibration/README.md for how each reader is given labels"
    )


def test_a_sample_outside_the_profile_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError) as caught:
        run(tmp_path, [(3, 0), (9, 0)])
    assert str(caught.value) == (
        "data.py:samples[1]: input signal has 9 elements along time, and the profile allows 2 to 8\n"
        "  hint: shorten the sample, or raise axes.time.max"
    )


def test_text_needs_a_tokenizer(tmp_path: Path) -> None:
    spec = CalibrationSpec(data=DataSource(reader=Reader.TEXT, path="rows.json", licence="CC0-1.0"))
    with pytest.raises(CalibrationError, match="reader 'text' needs a tokenizer, and the weights bring none"):
        run(tmp_path, ROWS, calibration=spec)
