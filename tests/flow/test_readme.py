"""The README's commands on the real MiniLM, in a clone's layout: each does what the text says."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
MINILM_ATTENTIONS = 6

pytestmark = pytest.mark.models


def run(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TRT_PIPELINE_ROOT": str(root)}
    command = [sys.executable, "-m", "pipeline.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=root)


def commands(block: str) -> list[list[str]]:
    return [line.split()[1:] for line in block.splitlines() if line.startswith("trt-pipeline ")]


def blocks() -> list[str]:
    return re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    """A clone's engines and calibration data after `engine minilm`, and what that printed."""
    root = tmp_path_factory.mktemp("clone")
    for name in ("engines", "calibration"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("build*", "__pycache__"))
    return root, run(root, "engine", "minilm", "--json")


def test_minilm_ends_in_a_bundle_with_every_attention_fused(minilm):
    root, result = minilm
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["shippable"]
    assert summary["passed"]
    manifest = json.loads((root / "engines" / "minilm" / "build" / "bundle" / "manifest.json").read_text())
    assert [plan["fused_attentions"] for plan in manifest["plans"]] == [MINILM_ATTENTIONS]
    report = json.loads((root / "engines" / "minilm" / "build" / "report.json").read_text())
    assert report["layers"]
    assert all(layer["stats"] is not None and not layer["bad"] for layer in report["layers"])


def test_a_second_run_does_nothing(minilm):
    root, _ = minilm
    again = run(root, "engine", "minilm", "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["fresh"] == []


def test_every_command_of_the_readme_works(minilm):
    root, _ = minilm
    found = [words for block in blocks() for words in commands(block)]
    assert ["list"] in found
    for words in found:
        result = run(root, *words)
        assert result.returncode == 0, f"{' '.join(words)}\n{result.stdout}\n{result.stderr}"
        assert result.stdout or result.stderr, words


def test_every_make_target_of_the_readme_exists():
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", README, flags=re.MULTILINE))
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"engine", "test", "acceptance", "bench"} <= named
    assert named <= targets
