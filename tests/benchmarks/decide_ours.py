"""Calibrate, mark and convert one model on one batch: the process that `decide` measures."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.core import serde
from pipeline.core.artifacts import FusionBaseline, OnnxModel, Samples, SampleSet, SourceTree
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import PrecisionSpec
from pipeline.stages.calibrate import calibrate
from pipeline.stages.convert import convert
from pipeline.stages.mark import mark


def main(record: Path, batch: Path, out: Path) -> None:
    """Write the mixed model to `out`."""
    reference = serde.loads(OnnxModel, record.read_bytes())
    one = SampleSet(batches=(batch,), samples=8, source="random tokens", licence="CC0-1.0")
    samples = Samples(calibration=one, validation=one, overlap=True)
    quiet = Silent()
    ranges = calibrate(reference=reference, samples=samples, low=Format.FP16, out=out, progress=quiet)
    plan = mark(
        reference=reference,
        ranges=ranges,
        baseline=FusionBaseline(attentions=12, reason="not probed in this benchmark"),
        precision=PrecisionSpec(),
        engine=SourceTree(folder=out, digest=""),
        out=out,
        progress=quiet,
    )
    convert(reference=reference, rescaled=None, plan=plan, out=out, progress=quiet)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
