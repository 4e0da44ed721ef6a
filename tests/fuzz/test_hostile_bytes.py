"""Every reader on hostile variants of what it reads: it answers, or raises a `PipelineError`; nothing else escapes."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS, seeds

EXAMPLES = {"arriving-graph": 20, "graph": 60, "packed": 40, "members": 60, "spec": 80}
"""Fewer where one example costs milliseconds."""


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_its_own_error_escapes(name, record_property):
    target, given_seeds, tried = TARGETS[name], seeds(name), 0
    for seed in given_seeds:
        target(seed)

    @settings(
        max_examples=EXAMPLES.get(name, 100),
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        derandomize=True,
        database=None,
    )
    @given(data=st.data())
    def run(data):
        nonlocal tried
        tried += 1
        target(data.draw(mutated(given_seeds)))

    run()
    record_property("hostile inputs", tried)
    assert tried >= 20
