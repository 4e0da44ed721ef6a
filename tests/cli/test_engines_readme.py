import dataclasses
from pathlib import Path

from pipeline.core import spec

README = (Path(__file__).parents[2] / "engines" / "README.md").read_text(encoding="utf-8")
RECORDS = [kind for kind in vars(spec).values() if dataclasses.is_dataclass(kind)]
FROM_THE_FOLDER = {"name", "folder"}


def test_every_key_of_a_spec_is_described():
    keys = {item.name for kind in RECORDS for item in dataclasses.fields(kind)} - FROM_THE_FOLDER
    words = set(README.replace(".", " ").replace("`", " ").replace("[", " ").replace("]", " ").split())
    words |= {word.strip(",(){}:|") for word in words}
    assert sorted(keys - words) == []


def test_defaults_are_the_codes():
    for kind in (spec.PrecisionSpec, spec.ToleranceSpec, spec.BuildSpec, spec.CalibrationSpec):
        for item in dataclasses.fields(kind):
            if isinstance(item.default, float | int) and not isinstance(item.default, bool):
                row = next(line for line in README.splitlines() if line.startswith("|") and f"{item.name}`" in line)
                assert f"`{item.default}`" in row, item.name
