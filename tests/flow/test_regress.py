"""The regression job on the small clone: green, red with the module named, and without a baseline."""

import json
import shutil
from xml.etree import ElementTree

import pytest

from tests.flow.clone import Clone


@pytest.fixture(scope="module")
def clone(built, tmp_path_factory):
    """A copy of the built clone, with a baseline."""
    folder = tmp_path_factory.mktemp("regress") / "clone"
    shutil.copytree(built[0].root, folder)
    made = Clone(folder)
    result = made.run("baseline", "update", "tiny", "--yes")
    assert result.returncode == 0, result.stderr
    assert f"written: {made.engine}/baseline.json" in result.stdout
    return made


def test_without_a_baseline_it_says_so(built):
    clone = built[0]
    result = clone.run("regress", "tiny")
    assert result.returncode == 3
    assert result.stderr == (
        f"error: {clone.engine}/baseline.json: this engine has no baseline to be held to\n"
        "  hint: make one from a state that is known to be good: trt-pipeline baseline update tiny\n"
    )


def test_an_unchanged_engine_is_green(clone):
    result = clone.run("regress", "--json")
    assert result.returncode == 0, result.stderr
    (found,) = json.loads(result.stdout)
    assert {row["change"] for row in found["rows"]} == {"same"}
    assert found["differences"] == []


def test_a_norm_in_fp16_is_red_and_named(clone, tmp_path):
    spec = clone.engine / "engine.toml"
    text = spec.read_text()
    spec.write_text(text + "\n[precision]\nfp16 = ['norm']\n")
    try:
        forms = [f"--{name}={tmp_path / name}" for name in ("junit", "markdown")]
        result = clone.run("regress", "tiny", *forms)
    finally:
        spec.write_text(text)
    assert result.returncode == 1, result.stderr
    assert result.stdout.startswith("WORSE  tiny: ")
    markdown = (tmp_path / "markdown").read_text()
    assert "first made worse by its own error: norm" in markdown
    assert "(module norm): LayerNormalization fp32" in markdown
    assert int(ElementTree.parse(tmp_path / "junit").getroot().attrib["failures"]) >= 1


def test_an_update_shows_the_difference_and_asks(clone):
    result = clone.run("baseline", "update", "tiny")
    assert result.returncode == 1
    assert "PASSED  tiny: no figure worse, 0 better" in result.stdout
    assert "Aborted!" in result.stderr
