"""seed: the architecture with random weights, where no checkpoint can be had."""

from __future__ import annotations

from pathlib import Path

from pipeline.core import digest
from pipeline.core.artifacts import Provenance, SourceTree, Weights
from pipeline.core.errors import SpecError
from pipeline.core.progress import Progress
from pipeline.core.spec import ModelSpec
from pipeline.core.stage import stage


@stage(version=1, rooms=("models/transformers_source.py",), tools=("torch", "transformers"))
def seed(model: ModelSpec, engine: SourceTree, *, out: Path, progress: Progress) -> Weights:
    """Write a checkpoint with seeded random weights: right in shape and speed, never in what it computes.

    Args:
        model: The architecture and the path of its configuration.
        engine: The engine's folder.
        out: Folder for the checkpoint.
        progress: Told that the weights are not real.

    Returns:
        Weights that are marked as not real and cannot be shipped.

    Raises:
        SpecError: The spec gives no configuration, or an unknown architecture.
        SourceError: The configuration cannot be read.
    """
    from pipeline.models import transformers_source

    if model.config is None:
        raise SpecError("missing; seeded weights need a configuration", where="model.config")
    config = engine.folder / model.config
    transformers_source.seed(model, config, out)
    progress.note(f"made {model.architecture} with seeded weights from {model.config}")
    provenance = Provenance(
        source=f"seeded:{transformers_source.SEED}",
        digest=digest.of_file(config),
        licence="CC0-1.0",
        real=False,
    )
    return Weights(folder=out, checkpoint=out, provenance=provenance)
