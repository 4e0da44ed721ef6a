"""The straight line from `engine.toml` to a bundle: the only place that knows the order of the stages."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import publish
from pipeline.bundle import archive
from pipeline.core import clones, digest, spec_file, trees
from pipeline.core.artifacts import Files, Invocation, Overrides, Samples, Scratchpad, SourceTree, Stripped, Weights
from pipeline.core.draw import Draw
from pipeline.core.errors import ShipError, SourceError, SpecError, StoreError, Unreachable
from pipeline.core.order import ORDER
from pipeline.core.progress import Progress
from pipeline.core.runner import Damaged, Handle, Runner
from pipeline.core.spec import DataSource, EngineSpec, Policy
from pipeline.core.store import Store
from pipeline.stages.build import build
from pipeline.stages.calibrate import calibrate
from pipeline.stages.canonicalise import canonicalise
from pipeline.stages.compensate import compensate
from pipeline.stages.convert import convert
from pipeline.stages.draw import draw
from pipeline.stages.export import export
from pipeline.stages.fetch import fetch
from pipeline.stages.fetch_files import fetch_files
from pipeline.stages.mark import mark
from pipeline.stages.probe import probe
from pipeline.stages.render import render
from pipeline.stages.rescale import rescale
from pipeline.stages.sample import sample
from pipeline.stages.search import search
from pipeline.stages.seed import seed
from pipeline.stages.ship import ship
from pipeline.stages.strip import strip
from pipeline.stages.validate import validate

if TYPE_CHECKING:
    from pipeline.bundle.signing import Signer

STORE = ".trt-pipeline"
RESTARTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a command line changes about a spec.

    Attributes:
        weights: `auto`, `pretrained`, `seeded`, or the path of a local checkpoint.
        policy: Precision policy instead of the spec's.
        targets: Build targets instead of the spec's.
        overrides: Refusals to ship that do not hold this time.
        signer: Signs the bundle; None leaves it unsigned, or signed as it is.
        strip_names: Build, validate and ship the model under ordinals instead of its own names.
        draw: Validation samples instead of the spec's; what is made with them ships nothing.
        gpu_check: Validate more than outputs on a GPU: a tapped engine beside the plan, and latencies.
        search: Keys of `SearchSpec` instead of the spec's.
        compensate: Take out the mean error of rounding, whatever the spec says.
    """

    weights: str = "auto"
    policy: str | None = None
    targets: tuple[str, ...] | None = None
    overrides: Overrides = field(default_factory=Overrides)
    signer: Signer | None = None
    strip_names: bool = False
    draw: Draw | None = None
    gpu_check: bool = False
    search: Mapping[str, Any] = field(default_factory=dict)
    compensate: bool = False


@dataclass(slots=True, kw_only=True)
class Results:
    """What a run made or found, up to where it went.

    Attributes:
        spec: The spec, options applied.
        folder: Where the results for people lie: `engines/<name>/build…`.
        handles: Results by the name of their stage in `ORDER`.
        fresh: Stages that ran.
        reused: Stages whose results were found.
        seeded: Whether the weights are not the real ones.
        refused: Why nothing was shipped, or None.
    """

    spec: EngineSpec
    folder: Path
    handles: dict[str, Handle[Any]] = field(default_factory=dict)
    fresh: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    seeded: bool = False
    refused: str | None = None

    def artifact(self, stage: str) -> Any:
        """The artifact of a stage, or None if the run did not reach it."""
        handle = self.handles.get(stage)
        return None if handle is None else handle.read()

    @property
    def reference(self) -> Any:
        """The fp32 model that precision was decided for: the canonical one, or what rescaling made of it."""
        return reference_of(self.handles).read()

    @property
    def ranges(self) -> Any:
        """What the tensors of that model held in calibration."""
        return ranges_of(self.handles).read()

    @property
    def plan(self) -> Any:
        """The precision plan that is converted: what the policy decided, or what a search found."""
        return plan_of(self.handles).read()

    @property
    def mixed(self) -> Any:
        """The mixed model that is built: with the mean error of rounding taken out, where that was asked for."""
        return mixed_of(self.handles).read()

    @property
    def shippable(self) -> bool:
        """Whether there is a bundle."""
        return "ship" in self.handles


def run(name: str, *, root: Path, options: Options | None = None, progress: Progress, until: str = "ship") -> Results:
    """Run the line for one engine; only what changed is done again.

    Args:
        name: Name of a folder below `root/engines`.
        root: The clone.
        options: What to change about the spec.
        progress: Receives what stages say.
        until: Last stage to run, one of `ORDER`.

    Raises:
        PipelineError: The spec, the sources or a stage failed. Finished stages are kept.
    """
    options = options or Options()
    if until not in ORDER:
        raise ValueError(f"no stage {until!r}")
    spec = _with_options(read_spec(name, root=root), options)
    store = Store(root / STORE)
    with store.writing():
        for _ in range(RESTARTS):
            try:
                return _Line(spec, root, options, Runner(store, progress)).run(until)
            except Damaged as damage:
                progress.warn(f"damaged entry in the store discarded, making it again: {damage}")
    raise StoreError("entries are damaged as soon as they are written", where=str(store.root), hint="check the disk")


def read_spec(name: str, *, root: Path) -> EngineSpec:
    """The spec of one engine.

    Raises:
        SpecError: There is no such engine, or its file is wrong.
    """
    path = root / "engines" / name / spec_file.FILE
    if not path.is_file():
        known = ", ".join(engines(root)) or "none"
        raise SpecError(
            f"no engine named {name!r}", where=str(path), hint=f"engines here: {known}; `trt-pipeline init` adds one"
        )
    return spec_file.read(path)


def engines(root: Path) -> list[str]:
    """Names of the engines of a clone."""
    return sorted(path.parent.name for path in (root / "engines").glob(f"*/{spec_file.FILE}"))


def _with_options(spec: EngineSpec, options: Options) -> EngineSpec:
    try:
        if options.policy is not None:
            spec = dataclasses.replace(spec, precision=dataclasses.replace(spec.precision, policy=options.policy))
        if options.search:
            search = dataclasses.replace(spec.precision.search, **options.search)
            spec = dataclasses.replace(spec, precision=dataclasses.replace(spec.precision, search=search))
        if options.compensate:
            spec = dataclasses.replace(spec, precision=dataclasses.replace(spec.precision, compensate=True))
        if options.targets:
            spec = dataclasses.replace(spec, build=dataclasses.replace(spec.build, targets=options.targets))
    except ValueError as error:
        raise SpecError(str(error), where="command line") from error
    return spec


def _gpu() -> str:
    """The GPUs of this machine in words, or ""."""
    from pipeline.core import device

    return ", ".join(f"{gpu.name} ({gpu.capability})" for gpu in device.probe().gpus)


def reference_of(handles: Mapping[str, Handle[Any]]) -> Handle[Any]:
    """See `Results.reference`."""
    return handles["rescale"].part("model") if _is_rescaled(handles) else handles["canonicalise"]


def ranges_of(handles: Mapping[str, Handle[Any]]) -> Handle[Any]:
    """See `Results.ranges`."""
    return handles["rescale"].part("ranges") if _is_rescaled(handles) else handles["calibrate"]


def plan_of(handles: Mapping[str, Handle[Any]]) -> Handle[Any]:
    """See `Results.plan`."""
    return handles["search"].part("plan") if "search" in handles else handles["mark"]


def mixed_of(handles: Mapping[str, Handle[Any]]) -> Handle[Any]:
    """See `Results.mixed`."""
    return handles["compensate"].part("model") if "compensate" in handles else handles["convert"]


def _is_rescaled(handles: Mapping[str, Handle[Any]]) -> bool:
    return "rescale" in handles and handles["rescale"].read().model is not None


class _Line:
    """One walk along the line; each method is a stretch of it."""

    def __init__(self, spec: EngineSpec, root: Path, options: Options, runner: Runner) -> None:
        self.spec = spec
        self.root = root
        self.options = options
        self.runner = runner
        self.engine = trees.engine_tree(spec)
        self.done: dict[str, Handle[Any]] = {}

    def run(self, until: str) -> Results:
        """Walk to `until` and publish what a person looks at."""
        weights, seeded = self._weights()
        self.done["fetch"] = weights
        folder = self.spec.folder / publish.folder_name(
            seeded=seeded,
            policy=self.options.policy,
            drawn=self.options.draw is not None,
            stripped=self.options.strip_names,
            compensated=self.options.compensate,
        )
        refused = self._walk(ORDER[: ORDER.index(until) + 1], weights, seeded)
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

    def _weights(self) -> tuple[Handle[Weights], bool]:
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

    def _sample(self, weights: Handle[Weights]) -> Handle[Samples]:
        task = self.spec.task
        named = [self.spec.calibration.data, *([task.data] if task else [])]
        shared = {
            "calibration": self.spec.calibration,
            "inputs": self.spec.inputs,
            "axes": self.spec.axes,
            "tokenizer": self._tokenizer(weights),
            "calibration_files": self._files(self.spec.calibration.data),
            "engine": self.engine,
            "repository": trees.data_tree(self.root, named),
        }
        files = self._files(task.data) if task else None
        found = self.runner.run(sample, task=task, task_files=files, **shared)
        wanted = self.options.draw
        self.done["draw"] = found if wanted is None else self.runner.run(draw, wanted=wanted, samples=found, **shared)
        return found

    def _tokenizer(self, weights: Handle[Weights]) -> Handle[Weights]:
        """The checkpoint that holds the tokenizer: the weights themselves where they bring one."""
        fallback = self.spec.model.tokenizer
        if fallback is None or weights.read().tokenizer is not None:
            return weights
        return self.runner.run(fetch, source=fallback, local=None)

    def _files(self, data: DataSource) -> Handle[Files] | None:
        return self.runner.run(fetch_files, packages=data.packages) if data.packages else None

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
        )

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
            mixed=mixed_of(self.done),
            plan=plan_of(self.done),
            plans=self.done["build"],
            samples=self.done["draw"],
            inputs=self.spec.inputs,
            task=self.spec.task,
            tolerances=self.spec.tolerances,
            gpu=_gpu(),
            gpu_check=self.options.gpu_check,
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
            tokenizer=self._tokenizer(weights),
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
