"""Decide precision of one model by ours: the process that `precision_peers` measures.

Ranges come from the one batch that the peers are given; a search tries its plans on the whole calibration set.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from pipeline import flow
from pipeline.core import serde, trees
from pipeline.core.artifacts import FusionBaseline, OnnxModel, Samples, SampleSet, Scratchpad
from pipeline.core.progress import Silent
from pipeline.stages.calibrate import calibrate
from pipeline.stages.convert import convert
from pipeline.stages.mark import mark
from pipeline.stages.rescale import rescale
from pipeline.stages.search import search
from tests.benchmarks.peers import ROOT


def main(name: str, policy: str, prepared: Path, batch: Path, out: Path) -> None:
    """Write the mixed model to `out`.

    Args:
        name: Name of the engine.
        policy: `sensitive` or `search`.
        prepared: Folder with `exported.json`, `reference.json` and `samples.json`.
        batch: The calibration batch.
        out: An empty folder.
    """
    spec = flow.read_spec(name, root=ROOT)
    reference = serde.loads(OnnxModel, (prepared / "reference.json").read_bytes())
    samples = serde.loads(Samples, (prepared / "samples.json").read_bytes())
    one = replace(samples, calibration=SampleSet(batches=(batch,), samples=1, source="benchmark", licence="CC0-1.0"))
    quiet, engine = Silent(), trees.engine_tree(spec)
    ranges = calibrate(reference=reference, samples=one, low=spec.precision.low, out=out, progress=quiet)
    (out / "rescaled").mkdir()
    rescaled = rescale(
        reference=reference,
        ranges=ranges,
        samples=one,
        precision=spec.precision,
        engine=engine,
        out=out / "rescaled",
        progress=quiet,
    )
    source, ranges = rescaled.model or reference, rescaled.ranges or ranges
    if policy == "search":
        plan = search(
            exported=serde.loads(OnnxModel, (prepared / "exported.json").read_bytes()),
            reference=source,
            ranges=ranges,
            precision=replace(spec.precision, policy=policy),
            samples=samples,
            inputs=spec.inputs,
            axes=spec.axes,
            task=spec.task,
            tolerances=spec.tolerances,
            build=spec.build,
            engine=engine,
            scratchpad=Scratchpad(folder=out / "trials"),
            out=out,
            progress=quiet,
        ).plan
    else:
        plan = mark(
            reference=source,
            ranges=ranges,
            baseline=FusionBaseline(attentions=0, reason="not probed in this benchmark"),
            precision=spec.precision,
            engine=engine,
            inputs=spec.inputs,
            axes=spec.axes,
            targets=spec.build.targets,
            out=out,
            progress=quiet,
        )
    convert(reference=reference, rescaled=rescaled, plan=plan, out=out, progress=quiet)


if __name__ == "__main__":
    _, engine, policy, *paths = sys.argv
    main(engine, policy, *map(Path, paths))
