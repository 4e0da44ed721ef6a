"""Comparing every layer of bert-base on batches of 8 x 128: ours against Polygraphy with all tensors marked."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from tests.benchmarks.bert import BATCH, subject
from tests.benchmarks.measure import Cost, measure
from tests.benchmarks.peers import FOLDER

TITLE = "every tensor of bert-base compared between two runs, batches of 8 x 128 tokens, process start to end"
MANY = 8


def run() -> dict[str, Cost]:
    """Cost of ours on one batch and on many, and of Polygraphy on one."""
    given = subject(batches=MANY)
    batches = _split(given.batch)
    ours: list[str | Path] = [sys.executable, "-m", "tests.benchmarks.layers_ours", given.model.path]
    peer: list[str | Path] = [
        Path(sys.executable).parent / "polygraphy",
        "run",
        given.model.path,
        "--onnxrt",
        "--onnxrt",
    ]
    peer += ["--onnx-outputs", "mark", "all", "--data-loader-script", Path(__file__).with_name("polygraphy_inputs.py")]
    return {
        "trt-pipeline, 1 batch": measure([*ours, batches[0]], log=FOLDER / "layers-ours-1.log"),
        f"trt-pipeline, {MANY} batches": measure([*ours, *batches], log=FOLDER / f"layers-ours-{MANY}.log"),
        "Polygraphy, 1 batch": measure(
            peer,
            log=FOLDER / "layers-polygraphy.log",
            environment={"BENCHMARK_BATCHES": os.pathsep.join(map(str, batches[:1]))},
        ),
    }


def _split(path: Path) -> list[Path]:
    """The samples of one file in files of `BATCH` samples."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file}
    parts = []
    for index in range(MANY):
        parts.append(path.with_stem(f"{path.stem}-{index}"))
        rows = slice(index * BATCH, (index + 1) * BATCH)
        np.savez(parts[-1], **{name: array[rows] for name, array in arrays.items()})
    return parts
