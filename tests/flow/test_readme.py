"""The README's commands on the real MiniLM, in a clone's layout: each does what the text says."""

import json
import re
from pathlib import Path

import pytest

from tests.flow.clone import run_in as run

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
MINILM_ATTENTIONS = 6

pytestmark = pytest.mark.models


def commands(block: str) -> list[list[str]]:
    return [line.split()[1:] for line in block.splitlines() if line.startswith("trt-pipeline ")]


def blocks() -> list[str]:
    return re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)


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
