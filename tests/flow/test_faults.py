"""The short form of `python -m tests.faults`: a few kills, damaged bytes and a clock set back."""

import random
import shutil

import pytest

from tests import faults
from tests.flow.clone import Clone

KILLS, DAMAGES = 1, 1


@pytest.fixture
def clone(built, tmp_path):
    shutil.copytree(built[0].root, tmp_path / "clone")
    return Clone(tmp_path / "clone")


def test_kills_at_random_moments_leave_nothing_half_written(built, clone, record_property):
    said = faults.kills(clone, faults.core(built[0]), KILLS, random.Random(3))
    assert said.startswith(f"{KILLS} kills survived")
    record_property("kills survived", KILLS)


def test_damaged_bytes_are_made_again(built, clone, record_property):
    faults.damages(clone, faults.core(built[0]), DAMAGES, random.Random(5))
    record_property("damaged bytes survived", DAMAGES)


def test_a_clock_set_back_changes_nothing(built, clone):
    faults.clock_set_back(clone, faults.core(built[0]), random.Random(0))
