"""Deciding precision for bert-base from one batch of 8 x 128: ours against ModelOpt AutoCast."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from pipeline.core import serde
from tests.benchmarks.bert import subject
from tests.benchmarks.measure import Cost, measure
from tests.benchmarks.peers import AUTOCAST, FOLDER, python_with

TITLE = "calibrate + mark + convert, bert-base, 8 x 128 tokens, process start to file on disk"


def run() -> dict[str, Cost]:
    """Cost of ours and of AutoCast on the same model and the same batch."""
    given = subject()
    record = FOLDER / "decide-model.json"
    record.write_text(serde.dumps(given.model))
    ours, theirs = _empty("decide-ours"), _empty("decide-autocast")
    peer = python_with("modelopt", AUTOCAST)
    autocast: list[str | Path] = [peer, "-m", "modelopt.onnx.autocast", "--onnx_path", given.model.path]
    autocast += ["--output_path", theirs / "model.onnx", "--calibration_data", given.batch]
    return {
        "trt-pipeline": measure(
            [sys.executable, "-m", "tests.benchmarks.decide_ours", record, given.batch, ours],
            log=FOLDER / "decide-ours.log",
        ),
        "ModelOpt 0.47 AutoCast": measure(autocast, log=FOLDER / "decide-autocast.log"),
    }


def _empty(name: str) -> Path:
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
