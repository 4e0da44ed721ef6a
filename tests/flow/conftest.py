"""Clones after one whole run, made once."""

import shutil
import time
from pathlib import Path

import pytest

from tests.flow.clone import make_clone, run_in

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The clone after one whole run, with what the run printed and how long it took."""
    clone = make_clone(tmp_path_factory.mktemp("clone"))
    start = time.monotonic()
    result = clone.run("engine", "tiny")
    return clone, result, time.monotonic() - start


@pytest.fixture(scope="session")
def minilm(tmp_path_factory):
    """A clone's engines and calibration data after `engine minilm`, and what that printed."""
    root = tmp_path_factory.mktemp("clone")
    for name in ("engines", "calibration"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("build*", "__pycache__"))
    return root, run_in(root, "engine", "minilm", "--json")
