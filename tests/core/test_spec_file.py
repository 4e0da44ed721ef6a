import contextlib
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import spec_file
from pipeline.core.errors import SpecError
from pipeline.core.formats import Format

WHERE = Path("engines/tiny/engine.toml")
HINT = "\n  hint: `trt-pipeline init NAME --from …` writes a commented file"

TINY = """
description = "a tiny model"

[model]
source = "callable"
callable = "model.py:load"
weights = { path = "engines/tiny", licence = "CC0-1.0" }

[inputs.x]
dtype = "float32"
axes = ["batch", 4]

[axes]
batch = { min = 1, opt = 2, max = 4 }

[calibration]
data = { reader = "npz", path = "engines/tiny/x.npz", licence = "CC0-1.0" }
"""


def error_of(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        spec_file.parse(text, WHERE)
    return str(caught.value)


def test_a_short_file_is_enough():
    spec = spec_file.parse(TINY, WHERE)
    assert (spec.name, spec.folder) == ("tiny", Path("engines/tiny"))
    assert spec.inputs["x"].axes == ("batch", 4)
    assert spec.precision.low is Format.FP16
    assert spec.build.targets == ("8.6", "8.9", "12.0")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'source = "callable"',
            'source = "calable"',
            "model.source: found 'calable': input should be 'transformers', "
            "'callable' or 'onnx'; did you mean 'callable'?",
        ),
        (
            "[calibration]",
            "[calibraton]",
            "2 mistakes\n  - calibraton: unknown key; did you mean 'calibration'?\n"
            "  - calibration: missing; this key is required",
        ),
        (
            'dtype = "float32"',
            'dtyp = "float32"',
            "2 mistakes\n  - inputs.x.dtyp: unknown key; did you mean 'dtype'?\n"
            "  - inputs.x.dtype: missing; this key is required",
        ),
        ("max = 4", "max = 1", "axes.batch: sizes must satisfy 1 <= min <= opt <= max, got 1, 2, 1"),
        ('axes = ["batch", 4]', 'axes = ["rows", 4]', "axes has no sizes for ['rows'], which inputs use"),
        ('dtype = "float32"', 'dtype = "half"', "inputs.x: dtype must be int64, int32, float32 or bool, got 'half'"),
        (
            "min = 1",
            'min = "one"',
            "axes.batch.min: found 'one': input should be a valid integer, unable to parse string as an integer",
        ),
        (
            'description = "a tiny model"',
            "name = 'other'\ndescription = ''",
            "name: unknown key; it follows from the folder",
        ),
    ],
)
def test_a_mistake_is_named_with_its_path_and_what_was_expected(old, new, message):
    assert old in TINY
    assert error_of(TINY.replace(old, new)) == f"{WHERE}: {message}{HINT}"


def test_every_mistake_is_reported_at_once():
    unlicensed = TINY.replace('path = "engines/tiny", licence = "CC0-1.0"', 'path = "engines/tiny"')
    text = error_of(unlicensed.replace("min = 1", "min = 0") + "\n[buld]\n")
    assert "3 mistakes" in text
    assert "model.weights.licence: missing" in text
    assert "axes.batch: sizes must satisfy" in text
    assert "buld: unknown key; did you mean 'build'?" in text


def test_what_is_not_toml_is_said_with_the_line():
    assert error_of("a = ") == f"{WHERE}: not TOML: Invalid value (at end of document)"


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(SpecError) as caught:
        spec_file.read(tmp_path / "engine.toml")
    assert str(caught.value) == (f"{tmp_path}/engine.toml: no such file\n  hint: `trt-pipeline list` shows the engines")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@given(
    key=st.sampled_from(["model", "inputs", "axes", "calibration", "task", "precision", "build", "tolerances"]),
    value=VALUES,
)
def test_no_value_of_a_table_ends_in_anything_but_a_spec_or_a_spec_error(key, value):
    table = {**tomllib.loads(TINY), key: value}
    with contextlib.suppress(SpecError):
        spec_file.validate(table, WHERE)
