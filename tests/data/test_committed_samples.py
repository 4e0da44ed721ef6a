"""The sample sets in calibration/ are what calibration/README.md says of them."""

import json
import re
import tomllib
from pathlib import Path

import pytest

from pipeline.core import serde, spec_file
from pipeline.core.spec import CalibrationSpec, Fit, ImageOptions, Metric, Reader, TaskSpec

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "calibration"


def rows(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


def words(name: str) -> list[int]:
    return [len(str(row["text"]).split()) for row in rows(name)]


def test_the_english_set_is_as_large_as_the_readme_says() -> None:
    counts = words("english.jsonl")
    assert f"{len(counts)} English texts, {min(counts)} to {max(counts)} words" in (FOLDER / "README.md").read_text()
    assert len(counts) >= 64
    assert sum(count >= 300 for count in counts) >= 4


@pytest.mark.parametrize("name", ["english.jsonl", "prompts.jsonl"])
def test_no_text_stands_twice(name: str) -> None:
    texts = [row["text"] for row in rows(name)]
    assert len(set(map(str, texts))) == len(texts)


@pytest.mark.parametrize("size", [4, 8])
def test_every_batch_of_the_english_set_pads_much(size: int) -> None:
    counts = words("english.jsonl")
    for start in range(0, len(counts) - size + 1, size):
        batch = counts[start : start + size]
        assert min(batch) * (8 if size == 8 else 2) <= max(batch)


def test_the_prompts_are_balanced() -> None:
    labels = [row["label"] for row in rows("prompts.jsonl")]
    assert (len(labels), labels.count(0), labels.count(1)) == (38, 19, 19)


@pytest.mark.parametrize("path", sorted(ROOT.glob("engines/*/engine.toml")), ids=lambda path: path.parent.name)
def test_every_engine_names_data_that_exists_or_is_pinned(path: Path) -> None:
    spec = spec_file.read(path)
    for data in (spec.calibration.data, *([spec.task.data] if spec.task else [])):
        assert data.licence
        assert data.packages or (ROOT / str(data.path)).is_file()
        if data.reader is Reader.CALLABLE:
            file, function = str(data.callable).split(":")
            assert re.search(rf"^def {function}\(request: Request\)", (path.parent / file).read_text(), re.MULTILINE)


def test_the_readme_shows_specs_that_are_valid() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)
    spec, image = (tomllib.loads(block) for block in blocks)
    assert serde.adapter(CalibrationSpec).validate_python(spec["calibration"]).data.reader is Reader.TEXT
    assert serde.adapter(TaskSpec).validate_python(spec["task"]).metric is Metric.AGREEMENT
    options = serde.adapter(ImageOptions).validate_python(image["calibration"]["data"]["image"])
    assert (options.fit, options.crop) == (Fit.CROP, 0.875)
