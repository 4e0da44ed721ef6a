"""The clone after one whole run, made once."""

import time

import pytest

from tests.flow.clone import make_clone


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The clone after one whole run, with what the run printed and how long it took."""
    clone = make_clone(tmp_path_factory.mktemp("clone"))
    start = time.monotonic()
    result = clone.run("engine", "tiny")
    return clone, result, time.monotonic() - start
