"""The regression workflow runs every engine that has a baseline, and none that has not."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_matrix_is_the_engines_that_have_a_baseline():
    workflow = (ROOT / ".github" / "workflows" / "accuracy.yml").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"^ +model: \[(.*)\]", workflow, flags=re.MULTILINE)
    held = {path.parent.name for path in (ROOT / "engines").glob("*/baseline.json")}
    assert sorted(matrix.split(", ")) == sorted(held)
