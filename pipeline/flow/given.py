"""What a run starts from: weights, tokenizer, samples."""

from __future__ import annotations

import os
from pathlib import Path

from pipeline.core import spec_file, trees
from pipeline.core.artifacts import Files, Samples, SourceTree, Weights
from pipeline.core.errors import SourceError, Unreachable
from pipeline.core.runner import Handle, Runner
from pipeline.core.spec import DataSource, EngineSpec
from pipeline.flow.options import Options
from pipeline.stages.draw import draw
from pipeline.stages.fetch import fetch
from pipeline.stages.fetch_files import fetch_files
from pipeline.stages.sample import sample
from pipeline.stages.seed import seed


class Given:
    """Fetches what a spec names.

    Args:
        spec: The spec, options applied.
        root: The clone.
        options: What the command line changes.
        engine: The engine's folder.
        runner: Runs stages.
    """

    def __init__(self, spec: EngineSpec, root: Path, options: Options, engine: SourceTree, runner: Runner) -> None:
        self.spec, self.root, self.options, self.engine, self.runner = spec, root, options, engine, runner

    def weights(self) -> tuple[Handle[Weights], bool]:
        """The checkpoint, and whether it is seeded."""
        choice, model = self.options.weights, self.spec.model
        if choice == "seeded":
            return self._seeded(), True
        if choice not in ("auto", "pretrained"):
            local = trees.checkpoint_tree(Path(choice), self.runner.store.root / "seen")
            return self.runner.run(fetch, source=model.weights, local=local), False
        try:
            return self.runner.run(fetch, source=model.weights, local=self._local()), False
        except Unreachable as error:
            if choice == "pretrained" or os.environ.get("CI") or model.config is None:
                raise
            self.runner.progress.warn(
                f"{error.what}; going on with SEEDED weights: nothing made from them can be shipped"
            )
            return self._seeded(), True

    def _local(self) -> SourceTree | None:
        """The checkpoint that the spec itself names as a local path, relative to the clone."""
        source = self.spec.model.weights
        if source.hub is not None or source.packages:
            return None
        return trees.checkpoint_tree(self.root / source.path, self.runner.store.root / "seen")

    def _seeded(self) -> Handle[Weights]:
        if self.spec.model.config is None:
            raise SourceError(
                "this engine has no `model.config` to seed weights from",
                where=f"{self.spec.folder.name}/{spec_file.FILE}",
                hint="run with WEIGHTS=pretrained",
            )
        return self.runner.run(seed, model=self.spec.model, engine=self.engine)

    def samples(self, weights: Handle[Weights]) -> tuple[Handle[Samples], Handle[Samples]]:
        """The spec's samples, and those that are validated on: the same, or drawn on request."""
        task = self.spec.task
        named = [self.spec.calibration.data, *([task.data] if task else [])]
        shared = {
            "calibration": self.spec.calibration,
            "inputs": self.spec.inputs,
            "axes": self.spec.axes,
            "tokenizer": self.tokenizer(weights),
            "calibration_files": self._files(self.spec.calibration.data),
            "engine": self.engine,
            "repository": trees.data_tree(self.root, named),
        }
        files = self._files(task.data) if task else None
        found = self.runner.run(sample, task=task, task_files=files, **shared)
        wanted = self.options.draw
        return found, found if wanted is None else self.runner.run(draw, wanted=wanted, samples=found, **shared)

    def tokenizer(self, weights: Handle[Weights]) -> Handle[Weights]:
        """The checkpoint that holds the tokenizer: the weights themselves where they bring one."""
        fallback = self.spec.model.tokenizer
        if fallback is None or weights.read().tokenizer is not None:
            return weights
        return self.runner.run(fetch, source=fallback, local=None)

    def _files(self, data: DataSource) -> Handle[Files] | None:
        return self.runner.run(fetch_files, packages=data.packages) if data.packages else None
