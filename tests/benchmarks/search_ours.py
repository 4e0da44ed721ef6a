"""Search one model's plans on one batch, confirm on another: the process that `search` measures. Prints JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from pipeline.core import serde
from pipeline.core.artifacts import OnnxModel, Samples, SampleSet, Scratchpad, SearchResult, SourceTree
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import AxisRange, BuildSpec, InputSpec, PrecisionSpec, SearchSpec, ToleranceSpec
from pipeline.stages.calibrate import calibrate
from pipeline.stages.search import search
from tests.benchmarks.bert import BATCH, SEQUENCE


def main(record: Path, batches: Path, sqnr_db: float) -> None:
    """Search with an empty memory."""
    reference = serde.loads(OnnxModel, record.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        found = _found(reference, _samples(batches, Path(folder)), sqnr_db, Path(folder))
    chosen, default = found.points[found.chosen], found.points[found.default]
    result = {
        "outcome": str(found.outcome),
        "fp32_nodes": chosen.fp32_nodes,
        "default": default.fp32_nodes,
        "sqnr_db": chosen.sqnr_db,
        "trials": found.trials,
        "candidates": sum(purchase.nodes for purchase in found.purchases),
    }
    print(json.dumps(result))


def _samples(batches: Path, folder: Path) -> Samples:
    """The first batch of a file to search on, the second held out."""
    with np.load(batches) as file:
        arrays = {name: file[name] for name in file}
    sets = []
    for index in range(2):
        path = folder / f"{index}.npz"
        np.savez(path, **{name: array[index * BATCH : (index + 1) * BATCH] for name, array in arrays.items()})
        sets.append(SampleSet(batches=(path,), samples=BATCH, source="random tokens", licence="CC0-1.0"))
    return Samples(calibration=sets[0], validation=sets[1])


def _found(reference: OnnxModel, samples: Samples, sqnr_db: float, folder: Path) -> SearchResult:
    axes = ("batch", "sequence")
    return search(
        exported=reference,
        reference=reference,
        ranges=calibrate(reference=reference, samples=samples, low=Format.FP16, out=folder, progress=Silent()),
        precision=PrecisionSpec(policy="search", search=SearchSpec(sqnr_db=sqnr_db)),
        samples=samples,
        inputs={
            info.name: InputSpec(dtype="int64", axes=axes, masks=("sequence",) if info.name == "attention_mask" else ())
            for info in reference.inputs
        },
        axes={
            "batch": AxisRange(min=1, opt=BATCH, max=BATCH),
            "sequence": AxisRange(min=1, opt=SEQUENCE, max=SEQUENCE),
        },
        task=None,
        tolerances=ToleranceSpec(),
        build=BuildSpec(),
        engine=SourceTree(folder=folder, digest=""),
        scratchpad=Scratchpad(folder=folder / "trials"),
        out=folder,
        progress=Silent(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]))
