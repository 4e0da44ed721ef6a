"""Searching bert-base's cheapest plan within its tolerances, 8 x 128 tokens: time, trials, and trials a minute.

Beside it what node by node would take: one trial for each node that may be either.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipeline.core import serde
from tests.benchmarks.bert import subject
from tests.benchmarks.measure import Cost, measure
from tests.benchmarks.peers import FOLDER

TITLE = "the cheapest plan for bert-base, plans tried on 8 x 128 tokens, process start to end (calibration included)"
BUDGETS = {"tolerances of the spec (40 dB)": 40.0, "harder than the default policy's plan": 64.0}


def run() -> dict[str, Cost]:
    """Cost of each search, by its budget."""
    given = subject(batches=2)
    record = FOLDER / "search-model.json"
    record.write_text(serde.dumps(given.model))
    return {name: _one(record, given.batch, sqnr_db) for name, sqnr_db in BUDGETS.items()}


def _one(record: Path, batch: Path, sqnr_db: float) -> Cost:
    log = FOLDER / f"search-{sqnr_db:g}.log"
    words: list[str | Path] = [sys.executable, "-m", "tests.benchmarks.search_ours", record, batch, str(sqnr_db)]
    cost = measure(words, log=log)
    found = json.loads(log.read_text().splitlines()[-1])
    print(
        f"{sqnr_db:g} dB: {found['outcome']}, {found['fp32_nodes']} nodes in fp32 instead of {found['default']} at "
        f"{found['sqnr_db']:.1f} dB; {found['trials']} trials, {60 * found['trials'] / cost.seconds:.1f} a minute; "
        f"node by node {found['candidates']}",
        flush=True,
    )
    return cost
