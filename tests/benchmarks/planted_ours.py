"""Bisect one model on one batch under all-fp16: the process that `planted` measures. Prints what it found as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pipeline.analysis.bisection.bisect import bisect
from pipeline.analysis.bisection.trials import Case
from pipeline.core import serde
from pipeline.core.artifacts import ActivationRanges, PrecisionPlan, Samples, SampleSet
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec, ToleranceSpec
from pipeline.graph import io
from pipeline.precision.policy import policies
from tests.benchmarks.planted import load, product_of


def main(record: Path, ranges: Path, batch: Path) -> None:
    """Find what was planted."""
    reference = load(record)
    model = io.load(reference.path)
    axes = ("batch", "sequence")
    one = SampleSet(batches=(batch,), samples=8, source="random tokens", licence="CC0-1.0")
    observed = serde.loads(ActivationRanges, ranges.read_bytes())
    found = bisect(
        Case(
            exported=reference,
            reference=reference,
            plan=PrecisionPlan(
                model=observed.model,
                policy="all-fp16",
                low=Format.FP16,
                decisions=policies.uniform(model, Format.FP16),
            ),
            ranges=observed.tensors,
            samples=Samples(calibration=one, validation=one, overlap=True),
            inputs={
                info.name: InputSpec(
                    dtype="int64", axes=axes, masks=("sequence",) if info.name == "attention_mask" else ()
                )
                for info in reference.inputs
            },
            task=None,
            tolerances=ToleranceSpec(),
        ),
        Silent(),
    )
    result = {
        "planted": str(product_of(model).name),
        "returned": [item.node for item in found.returned],
        "passed": found.after.passed,
        "tries": found.tries,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
