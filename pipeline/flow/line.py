"""One walk along the line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from pipeline import publish
from pipeline.bundle import archive
from pipeline.core import clones, digest, spec_file, trees
from pipeline.core.artifacts import GpuAtHand, Invocation, Samples, Scratchpad, Stripped, Weights
from pipeline.core.errors import ShipError
from pipeline.core.order import ORDER
from pipeline.core.runner import Handle, Runner
from pipeline.core.spec import CostSource, EngineSpec, Policy
from pipeline.flow.given import Given
from pipeline.flow.options import Options
from pipeline.flow.results import Results, mixed_of, plan_of, ranges_of, reference_of
from pipeline.stages.build import build
from pipeline.stages.calibrate import calibrate
from pipeline.stages.canonicalise import canonicalise
from pipeline.stages.compensate import compensate
from pipeline.stages.convert import convert
from pipeline.stages.export import export
from pipeline.stages.mark import mark
from pipeline.stages.probe import probe
from pipeline.stages.render import render
from pipeline.stages.rescale import rescale
from pipeline.stages.search import search
from pipeline.stages.ship import ship
from pipeline.stages.strip import strip
from pipeline.stages.validate import validate


class Line:
    """One walk along the line; each method is a stretch of it."""

    def __init__(self, spec: EngineSpec, root: Path, options: Options, runner: Runner) -> None:
        self.spec = spec
        self.root = root
        self.options = options
        self.runner = runner
        self.engine = trees.engine_tree(spec)
        self.given = Given(spec, root, options, self.engine, runner)
        self.done: dict[str, Handle[Any]] = {}

    def run(self, until: str) -> Results:
        """Walk to `until` and publish what a person looks at."""
        wanted = ORDER[: ORDER.index(until) + 1]
        if "search" in wanted and "search" not in self._skipped():
            self._bench()  # what is missing for it is said before the work
        weights, seeded = self.given.weights()
        self.done["fetch"] = weights
        folder = self.spec.folder / publish.folder_name(
            seeded=seeded,
            policy=self.options.policy,
            drawn=self.options.draw is not None,
            stripped=self.options.strip_names,
            compensated=self.options.compensate,
        )
        refused = self._walk(wanted, weights, seeded)
        results = Results(
            spec=self.spec,
            folder=folder,
            handles=self.done,
            fresh=tuple(self.runner.fresh),
            reused=tuple(self.runner.reused),
            seeded=seeded,
            refused=refused,
        )
        if "render" in self.done:
            publish.publish(results.folder, self.done, self.runner.store, self.options.signer)
        return results

    def _walk(self, wanted: tuple[str, ...], weights: Handle[Weights], seeded: bool) -> str | None:
        steps = {
            "sample": lambda: self._sample(weights),
            "export": self._export,
            "canonicalise": self._canonicalise,
            "calibrate": self._calibrate,
            "probe": self._probe,
            "rescale": self._rescale,
            "mark": self._mark,
            "search": self._search,
            "convert": self._convert,
            "compensate": self._compensate,
            "build": self._build,
            "validate": self._validate,
            "render": self._render,
        }
        for name in wanted:
            if name in steps and name not in self._skipped():
                self.done[name] = steps[name]()
        return self._ship(seeded) if "ship" in wanted else None

    def _sample(self, weights: Handle[Weights]) -> Handle[Samples]:
        found, self.done["draw"] = self.given.samples(weights)
        return found

    def _export(self) -> Handle[Any]:
        return self.runner.run(
            export,
            model=self.spec.model,
            inputs=self.spec.inputs,
            axes=self.spec.axes,
            tolerances=self.spec.tolerances,
            weights=self.done["fetch"],
            engine=self.engine,
            samples=self.done["sample"],
        )

    def _canonicalise(self) -> Handle[Any]:
        """The canonical model; under ordinals where names are stripped, and then everything after it is."""
        found = self.runner.run(canonicalise, exported=self.done["export"])
        if not self.options.strip_names:
            return found
        self.done["strip"] = self.runner.run(strip, reference=found, precision=self.spec.precision)
        names: Stripped = self.done["strip"].read()
        precision = dataclasses.replace(self.spec.precision, fp32=names.fp32, bf16=names.bf16, fp16=names.fp16)
        self.spec = dataclasses.replace(self.spec, precision=precision)
        return self.done["strip"].part("model")

    def _calibrate(self) -> Handle[Any]:
        return self.runner.run(
            calibrate,
            reference=self.done["canonicalise"],
            samples=self.done["sample"],
            low=self.spec.precision.low,
        )

    def _probe(self) -> Handle[Any]:
        return self.runner.run(
            probe,
            reference=self.done["canonicalise"],
            inputs=self.spec.inputs,
            axes=self.spec.axes,
            build=self.spec.build,
            low=self.spec.precision.low,
        )

    def _skipped(self) -> frozenset[str]:
        """Stages that the spec does without."""
        precision = self.spec.precision
        off = set() if precision.compensate else {"compensate"}
        if precision.policy != Policy.SEARCH:
            off.add("search")
        if not precision.rescale or precision.policy in (Policy.ALL_FP16, Policy.ALL_FP32):
            off.add("rescale")
        return frozenset(off)

    def _rescale(self) -> Handle[Any]:
        return self.runner.run(
            rescale,
            reference=self.done["canonicalise"],
            ranges=self.done["calibrate"],
            samples=self.done["sample"],
            precision=self.spec.precision.without_search(),
            engine=self.engine,
        )

    def _convert(self) -> Handle[Any]:
        return self.runner.run(
            convert,
            reference=self.done["canonicalise"],
            rescaled=self.done.get("rescale"),
            plan=plan_of(self.done),
        )

    def _compensate(self) -> Handle[Any]:
        return self.runner.run(
            compensate,
            reference=self.done["canonicalise"],
            mixed=self.done["convert"],
            samples=self.done["sample"],
            inputs=self.spec.inputs,
        )

    def _mark(self) -> Handle[Any]:
        return self.runner.run(
            mark,
            reference=reference_of(self.done),
            ranges=ranges_of(self.done),
            baseline=self.done["probe"],
            precision=self.spec.precision.without_search(),
            engine=self.engine,
            inputs=self.spec.inputs,
            axes=self.spec.axes,
            targets=self.spec.build.targets,
        )

    def _search(self) -> Handle[Any]:
        return self.runner.run(
            search,
            exported=self.done["export"],
            reference=reference_of(self.done),
            ranges=ranges_of(self.done),
            precision=self.spec.precision,
            samples=self.done["sample"],
            inputs=self.spec.inputs,
            axes=self.spec.axes,
            task=self.spec.task,
            tolerances=self.spec.tolerances,
            build=self.spec.build,
            engine=self.engine,
            scratchpad=Scratchpad(folder=self.runner.store.root / "trials"),
            gpu=self._bench(),
        )

    def _bench(self) -> GpuAtHand:
        """What a search times plans on; nothing where it counts costs.

        Raises:
            BackendUnavailable: It is to time them, and cannot here.
        """
        if self.spec.precision.search.cost is CostSource.COUNTED:
            return GpuAtHand()
        from pipeline.analysis.gpu import stopwatch

        return GpuAtHand(names=str(stopwatch.bench(self.spec.build)))

    def _build(self) -> Handle[Any]:
        return self.runner.run(
            build,
            mixed=mixed_of(self.done),
            plan=plan_of(self.done),
            baseline=self.done["probe"],
            inputs=self.spec.inputs,
            axes=self.spec.axes,
            build=self.spec.build,
            scratchpad=Scratchpad(folder=self.runner.store.root / "timing"),
        )

    def _validate(self) -> Handle[Any]:
        return self.runner.run(
            validate,
            engine=self.spec.name,
            exported=self.done["export"],
            reference=self.done["canonicalise"],
            decided=reference_of(self.done),
            mixed=mixed_of(self.done),
            plan=plan_of(self.done),
            plans=self.done["build"],
            samples=self.done["draw"],
            inputs=self.spec.inputs,
            task=self.spec.task,
            tolerances=self.spec.tolerances,
            gpu=GpuAtHand(names=_gpu(), check=self.options.gpu_check),
            axes=self.spec.axes,
        )

    def _render(self) -> Handle[Any]:
        """The verdict written out, passed or not."""
        return self.runner.run(
            render,
            report=self.done["validate"],
            plan=plan_of(self.done),
            plans=self.done["build"],
            search=self.done.get("search"),
        )

    def _ship(self, seeded: bool) -> str | None:
        """Ship, or say why not."""
        if seeded:
            return "the weights are seeded, not the real ones"
        if not (self.done["validate"].read().passed or self.options.overrides.unvalidated):
            return "validation did not pass"
        try:
            self.done["ship"] = self._shipped(self.done["fetch"])
        except ShipError as error:
            return f"{error.what}\n  hint: {error.hint}" if error.hint else error.what
        return None

    def _shipped(self, weights: Handle[Weights]) -> Handle[Any]:
        return self.runner.run(
            ship,
            name=self.spec.name,
            axes=self.spec.axes,
            weights=weights,
            tokenizer=self.given.tokenizer(weights),
            mixed=mixed_of(self.done),
            plan=plan_of(self.done),
            plans=self.done["build"],
            report=self.done["validate"],
            rendered=self.done["render"],
            invocation=self._invocation(),
            names_stripped=self.options.strip_names,
            overrides=self.options.overrides,
        )

    def _invocation(self) -> Invocation:
        """What the provenance says of this run; nothing that differs between two clones of the same commit."""
        changed = {"weights": self.options.weights, "policy": self.options.policy, "targets": self.options.targets}
        return Invocation(
            spec=digest.of_file(self.spec.folder / spec_file.FILE),
            commit=clones.commit(self.root),
            parameters={name: str(value) for name, value in changed.items() if value is not None},
            epoch=archive.given_epoch(),
        )


def _gpu() -> str:
    """The GPUs of this machine in words, or ""."""
    from pipeline.core import device

    return ", ".join(f"{gpu.name} ({gpu.capability})" for gpu in device.probe().gpus)
