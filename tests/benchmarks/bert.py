"""bert-base (seeded: speed and memory do not depend on the weights) and one batch of 8 x 128 tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import flow
from pipeline.core import npz
from pipeline.core.artifacts import OnnxModel
from pipeline.core.progress import Silent
from tests.benchmarks.peers import FOLDER, ROOT

BATCH, SEQUENCE, VOCABULARY = 8, 128, 30522


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What ours and the peers are given.

    Attributes:
        model: The canonical fp32 model.
        batch: `.npz` with one batch of inputs.
    """

    model: OnnxModel
    batch: Path


def subject(batches: int = 1) -> Subject:
    """Prepare the model and `batches` batches in one file."""
    results = flow.run(
        "bert-base", root=ROOT, options=flow.Options(weights="seeded"), progress=Silent(), until="canonicalise"
    )
    model = results.artifact("canonicalise")
    path = FOLDER / f"bert-{batches}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    shape = (BATCH * batches, SEQUENCE)
    mask = np.arange(SEQUENCE) < random.integers(SEQUENCE // 4, SEQUENCE + 1, size=(BATCH * batches, 1))
    inputs = {
        "input_ids": random.integers(1, VOCABULARY, shape),
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    npz.write(path, {info.name: inputs[info.name] for info in model.inputs})
    return Subject(model=model, batch=path)
