from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import cli

SPEC = """
description = "an encoder"

[model]
source = "transformers"
architecture = "AutoModel"
outputs = ["last_hidden_state"]
weights = { path = "checkpoint", licence = "MIT" }

[inputs.input_ids]
dtype = "int64"
axes = ["batch", 16]

[axes]
batch = { min = 1, opt = 8, max = 32 }

[calibration]
data = { reader = "text", path = "calibration/x.jsonl", licence = "CC0-1.0" }
"""


@dataclass(frozen=True)
class Clone:
    """A folder with one engine, and the command run in it."""

    root: Path

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(cli, arguments)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    monkeypatch.delenv("TRT_PIPELINE_ROOT", raising=False)
    (tmp_path / "engines" / "tiny").mkdir(parents=True)
    (tmp_path / "engines" / "tiny" / "engine.toml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    return Clone(tmp_path)
