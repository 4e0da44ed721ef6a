"""What a benchmark says of a process that fails or takes too much."""

import sys

import pytest

from tests.benchmarks.measure import Limit, attempt

LIMIT = Limit(cpu_seconds=1, gb=1)


@pytest.mark.parametrize(
    ("program", "failure"),
    [
        ("print('done')", None),
        ("while True: pass", "no result within 1 s of processor time"),
        ("bytearray(2 * 10**9)", "no result within 1 GB"),
        ("raise SystemExit('no such operator')", "no such operator"),
    ],
    ids=["ends", "takes too long", "takes too much memory", "fails"],
)
def test_a_peer_that_gives_no_result_says_why(program, failure, tmp_path):
    found = attempt([sys.executable, "-c", program], log=tmp_path / "log", limit=LIMIT)
    assert found.failure == failure
    assert 0 < found.cost.cpu_seconds < 3
