"""Validation samples that the command line asks for, instead of the spec's."""

import json

import numpy as np
import pytest

from pipeline.core.artifacts import SourceTree
from pipeline.core.draw import Draw
from pipeline.core.errors import SpecError
from pipeline.core.spec import AxisRange, CalibrationSpec, DataSource, InputSpec, Reader
from pipeline.data.sets import choose
from pipeline.stages.draw import draw
from pipeline.stages.sample import sample
from tests.batches import load_all

INPUTS = {
    "signal": InputSpec(dtype="float32", axes=("batch", "time")),
    "mask": InputSpec(dtype="bool", axes=("batch", "time"), masks=("time",)),
}
AXES = {"batch": AxisRange(min=1, opt=2, max=4), "time": AxisRange(min=1, opt=20, max=40)}
CODE = """
import json
import numpy as np

def samples(request):
    for length in json.loads(request.path.read_text()):
        yield {"signal": np.full(length, length, np.float32), "mask": np.ones(length, bool)}
"""
SPEC = CalibrationSpec(
    data=DataSource(reader=Reader.CALLABLE, callable="data.py:samples", path="rows.json", licence="CC0-1.0"),
    samples=4,
    batch=2,
    validate_samples=2,
)


class Told:
    def __init__(self):
        self.warnings = []

    def advance(self, what, done, total=None):
        pass

    def warn(self, text):
        self.warnings.append(text)


@pytest.fixture
def drawn(tmp_path):
    (tmp_path / "data.py").write_text(CODE)
    (tmp_path / "rows.json").write_text(json.dumps(list(range(1, 31))))
    tree = SourceTree(folder=tmp_path, digest="")
    shared = {
        "calibration": SPEC,
        "inputs": INPUTS,
        "axes": AXES,
        "tokenizer": None,
        "calibration_files": None,
        "engine": tree,
        "repository": tree,
    }
    told = Told()
    (tmp_path / "out").mkdir()
    own = sample(task=None, task_files=None, **shared, out=tmp_path / "out", progress=told)

    def run(**wanted):
        out = tmp_path / f"drawn-{len(list(tmp_path.iterdir()))}"
        out.mkdir()
        return own, draw(wanted=Draw(**wanted), samples=own, **shared, out=out, progress=told), told

    return run


def lengths(found):
    return [int(row.sum()) for batch in load_all(found) for row in batch.inputs["mask"]]


def test_the_first_samples_that_calibration_left(drawn):
    own, found, _ = drawn(samples=5)
    assert lengths(own.validation) == [5, 6]
    assert lengths(found.validation) == [5, 6, 7, 8, 9]
    assert lengths(found.calibration) == [1, 2, 3, 4]
    assert [len(batch.inputs["mask"]) for batch in load_all(found.validation)] == [2, 2, 1]
    assert not found.overlap


def test_a_seed_chooses_at_random_and_always_the_same(drawn):
    first, again, other = (lengths(drawn(samples=6, seed=seed)[1].validation) for seed in (7, 7, 8))
    assert first == again != other
    assert first == sorted(first), "in the order of the data"
    assert min(first) > 4, "none that calibration used"


def test_batches_of_the_size_asked_for(drawn):
    _, found, _ = drawn(samples=6, batch=3)
    assert [batch.inputs["mask"].shape[0] for batch in load_all(found.validation)] == [3, 3]
    _, found, _ = drawn(samples=6, sizes={"batch": 3})
    assert [batch.inputs["mask"].shape[0] for batch in load_all(found.validation)] == [3, 3]


def test_every_batch_has_the_size_asked_for(drawn):
    _, found, _ = drawn(samples=4, sizes={"time": 12})
    assert {batch.inputs["signal"].shape[1] for batch in load_all(found.validation)} == {12}


def test_too_few_samples_are_drawn_from_all_and_say_so(drawn):
    _, found, told = drawn(samples=50)
    assert found.validation.samples == 30
    assert found.overlap
    assert told.warnings[-1].startswith("rows.json: 26 samples are left beside calibration's, 50 are asked for: 30 are")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"sizes": {"width": 3}}, "command line: no dynamic axis 'width'\n  hint: axes of this engine: batch, time"),
        (
            {"batch": 9},
            "command line: batch=9 is outside the profile, 1 to 4\n"
            "  hint: raise axes.batch.max in engine.toml: the engine is built for the profile",
        ),
        ({"batch": 2, "sizes": {"batch": 3}}, "command line: --batch 2 and --shape batch=3 differ"),
    ],
)
def test_sizes_that_cannot_be_are_errors(drawn, wanted, message):
    with pytest.raises(SpecError) as error:
        drawn(**wanted)
    assert str(error.value) == message


@pytest.mark.parametrize("wanted", [{"samples": 0}, {"batch": -1}, {"seed": -1}])
def test_a_draw_of_nothing_cannot_exist(wanted):
    with pytest.raises(ValueError, match="must"):
        Draw(**wanted)


def test_every_sample_is_as_likely_as_any_other(drawn):
    seen = np.zeros(10)
    for seed in range(2000):
        seen[choose(range(10), 3, seed)] += 1
    assert np.abs(seen / 2000 - 0.3).max() < 0.04


def test_a_spec_with_the_same_samples_draws_the_same(drawn):
    own, found, _ = drawn(samples=SPEC.validate_samples, batch=SPEC.batch)
    assert lengths(own.validation) == lengths(found.validation)
