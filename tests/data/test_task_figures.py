"""The figures that the committed engines' data gives with the models' own fp32 weights."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.backends.onnxruntime import Session
from pipeline.core import spec_file
from pipeline.core.artifacts import SourceTree
from pipeline.core.progress import Silent
from pipeline.data.metrics import measure
from pipeline.stages.fetch_files import fetch_files
from pipeline.stages.sample import sample
from tests.batches import load_all

ROOT = Path(__file__).parents[2]


@pytest.mark.models
def test_silero_knows_speech_from_its_own_running_state(tmp_path: Path) -> None:
    spec = spec_file.read(ROOT / "engines/silero-vad/engine.toml")
    assert spec.task is not None
    for name in ("packages", "samples"):
        (tmp_path / name).mkdir()
    files = fetch_files(spec.task.data.packages, out=tmp_path / "packages", progress=Silent())
    found = sample(
        calibration=spec.calibration,
        task=spec.task,
        inputs=spec.inputs,
        axes=spec.axes,
        tokenizer=None,
        calibration_files=files,
        task_files=files,
        engine=SourceTree(folder=spec.folder, digest=""),
        repository=SourceTree(folder=ROOT, digest=""),
        out=tmp_path / "samples",
        progress=Silent(),
    )
    assert found.task is not None
    assert (found.task.samples, found.overlap) == (937, False)
    session = Session(tmp_path / "packages" / spec.model.weights.path)
    as_it_runs, from_nothing = measure(spec.task.metric), measure(spec.task.metric)
    for batch in load_all(found.task):
        as_it_runs.update(batch.inputs, session(batch.inputs), batch.expected)
        cold = {**batch.inputs, "state": np.zeros_like(batch.inputs["state"])}
        from_nothing.update(cold, session(cold), batch.expected)
    assert as_it_runs.value() == pytest.approx(0.974, abs=0.001)
    assert from_nothing.value() < 0.5
