"""The regression job on the real nanoguard: a norm moved to fp16 turns it red and is named; without it it is green."""

import shutil
from xml.etree import ElementTree

import pytest

from tests.flow.clone import run_in as run
from tests.flow.conftest import REPOSITORY

NAME = "nanoguard"
BLOCK = "transformer.h.2"

pytestmark = [pytest.mark.models, pytest.mark.slow]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A clone's nanoguard, its baseline and its data."""
    root = tmp_path_factory.mktemp("regression")
    shutil.copytree(REPOSITORY / "calibration", root / "calibration")
    ignored = shutil.ignore_patterns("build*", "__pycache__")
    shutil.copytree(REPOSITORY / "engines" / NAME, root / "engines" / NAME, ignore=ignored)
    return root


@pytest.fixture(scope="module")
def green(root):
    """What the committed policy gives, and its Markdown."""
    return regress(root, "green")


@pytest.fixture(scope="module")
def red(root, green):
    """What the policy gives with one block, norms and all, asked to be fp16."""
    spec = root / "engines" / NAME / "engine.toml"
    text = spec.read_text()
    spec.write_text(f'{text}\n[precision]\nfp16 = ["{BLOCK}"]\n')
    try:
        return regress(root, "red")
    finally:
        spec.write_text(text)


def regress(root, name):
    markdown, junit = root / f"{name}.md", root / f"{name}.xml"
    result = run(root, "regress", NAME, "--markdown", str(markdown), "--junit", str(junit))
    return result, markdown.read_text(), ElementTree.parse(junit).getroot()


def test_the_committed_policy_is_green(green):
    result, markdown, junit = green
    assert result.returncode == 0, result.stdout + result.stderr
    assert markdown.startswith(f"## ✅ {NAME}: no figure worse, ")
    assert int(junit.attrib["failures"]) == 0


def test_a_block_in_fp16_is_red_and_its_norm_is_named(red):
    result, markdown, junit = red
    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stdout.startswith(f"WORSE  {NAME}: ")
    assert f"## ❌ {NAME}: " in markdown
    assert f"first made worse by its own error: {BLOCK}\n" in markdown
    assert f"(module {BLOCK}): Pow fp32, by norm → Pow fp16, by user" in markdown
    assert int(junit.attrib["failures"]) >= 1


def test_without_it_the_job_is_green_again(root, red):
    result, markdown, _ = regress(root, "again")
    assert result.returncode == 0, result.stdout + result.stderr
    assert markdown.startswith(f"## ✅ {NAME}: no figure worse, ")
