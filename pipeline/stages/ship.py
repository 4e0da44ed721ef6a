"""Put what was shown to be right into one folder; refuse everything else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core import serde
from pipeline.core.artifacts import (
    Bundle,
    EnginePlans,
    Invocation,
    OnnxModel,
    Overrides,
    PrecisionPlan,
    Provenance,
    RenderedReport,
    ValidationReport,
    Weights,
)
from pipeline.core.errors import ShipError, SourceError
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange
from pipeline.core.stage import stage

if TYPE_CHECKING:
    from pipeline.bundle.writer import Writer

PRECISION = "precision.json"
EMULATED = "emulated.onnx"
TIMINGS = "timings.json"


@stage(
    version=2,
    rooms=(
        "bundle",
        "bundle/templates/README.md.j2",
        "precision",
        "graph",
        "models/tokenizers.py",
        "models/portable_tokenizer.py",
    ),
    tools=(
        "cyclonedx-python-lib",
        "jinja2",
        "numpy",
        "onnx",
        "onnx-ir",
        "onnxruntime-gpu",
        "polygraphy",
        "tensorrt",
        "tensorrt-rtx",
        "tiktoken",
        "tokenizers",
        "torch",
        "transformers",
    ),
)
def ship(
    name: str,
    axes: dict[str, AxisRange],
    weights: Weights,
    tokenizer: Weights | None,
    mixed: OnnxModel,
    plan: PrecisionPlan,
    plans: EnginePlans,
    report: ValidationReport,
    rendered: RenderedReport,
    invocation: Invocation,
    overrides: Overrides,
    names_stripped: bool,
    *,
    out: Path,
    progress: Progress,
) -> Bundle:
    """Write the bundle of one engine to `out/bundle`.

    Args:
        name: Name of the engine.
        axes: Sizes of every dynamic axis.
        weights: The checkpoint that everything was made from.
        tokenizer: The checkpoint that holds the tokenizer files; may be `weights` itself.
        mixed: The graph that the plans were built from.
        plan: Its precision plan.
        plans: The TensorRT plans.
        report: The verdict on them.
        rendered: The same verdict, written out.
        invocation: From what the bundle was asked for, and its date; it goes into the provenance.
        overrides: Refusals that do not hold this time; the manifest names what they overrode.
        names_stripped: Whether `mixed` carries ordinals instead of the model's own names.
        out: Folder that gets the bundle.
        progress: Receives a step a file.

    Raises:
        ShipError: Validation did not pass, was made on other weights or another graph, or has gaps; the weights are
            not the real ones or have no licence; or a plan is not the one that was validated.
    """
    from pipeline.bundle import describe, gate, provenance, readme, sbom
    from pipeline.bundle.consistency import PROVENANCE
    from pipeline.bundle.manifest import Manifest, Role, core_digest
    from pipeline.bundle.writer import Writer
    from pipeline.graph import io

    found = gate.refusals(weights, mixed, io.model_digest(mixed), plan, plans, report)
    overridden = gate.require(name, found, overrides)
    writer = Writer(folder=out / "bundle", progress=progress)
    holder = tokenizer if tokenizer is not None and tokenizer.tokenizer is not None else weights
    _add_plans(writer, name, plans)
    _add_graph(writer, mixed)
    writer.write(serde.dumps(plan), PRECISION, Role.PRECISION)
    tokenizer_source = _add_tokenizer(writer, holder)
    _add_measurements(writer, plans, rendered)
    sources = describe.sources(weights.provenance, tokenizer_source)
    writer.write(sbom.render(name, writer.files, sources, epoch=invocation.epoch), sbom.FILE, Role.SBOM)
    record = Manifest(
        engine=name,
        core=core_digest(writer.files),
        files=writer.files,
        plans=tuple(describe.plan(item) for item in plans.plans),
        graph=describe.graph(mixed, EMULATED, axes, report.subjects, names_stripped=names_stripped),
        precision=describe.precision(plan, PRECISION),
        weights=weights.provenance,
        tokenizer=tokenizer_source,
        verdict=describe.verdict(report, overridden),
        licences={what: source.licence for what, source in sources.items()},
        versions=describe.versions(),
    )
    writer.write(readme.render(record), "README.md", Role.README)
    subject = describe.subject(record, writer.files, invocation, report.subjects)
    writer.write(serde.dumps(provenance.statement(subject)), PROVENANCE, Role.PROVENANCE)
    record = dataclasses.replace(record, files=writer.files, core=core_digest(writer.files))
    return Bundle(folder=writer.folder, digest=writer.finish(record), core=record.core)


def _add_tokenizer(writer: Writer, holder: Weights) -> Provenance | None:
    """The files of the tokenizer, and the form that a bundle is read by where it is none of them; where from."""
    from pipeline.bundle import tokenizer
    from pipeline.bundle.manifest import Role
    from pipeline.models import portable_tokenizer

    if holder.tokenizer is None:
        return None
    for source in tokenizer.files(holder.tokenizer):
        writer.copy(source, f"tokenizer/{source.name}", Role.TOKENIZER)
    if f"tokenizer/{portable_tokenizer.FILE}" not in writer.files:
        try:
            written = portable_tokenizer.files(holder)
        except SourceError as error:
            writer.progress.warn(f"the bundle will take arrays and no text: {error}")
            written = {}
        for name in (name for name in written if f"tokenizer/{name}" not in writer.files):
            writer.write(written[name], f"tokenizer/{name}", Role.TOKENIZER)
    return holder.provenance if any(file.role is Role.TOKENIZER for file in writer.files.values()) else None


def _add_measurements(writer: Writer, plans: EnginePlans, rendered: RenderedReport) -> None:
    from pipeline.bundle import describe
    from pipeline.bundle.manifest import ATTESTATION, Role

    for source in (rendered.html, rendered.json):
        writer.copy(source, f"{ATTESTATION}/{source.name}", Role.REPORT)
    caches = {item.timing_cache for item in plans.plans if item.timing_cache is not None}
    for source in sorted(caches):
        writer.copy(source, f"{ATTESTATION}/{source.name}", Role.TIMINGS)
    writer.write(serde.dumps(describe.timings(plans)), f"{ATTESTATION}/{TIMINGS}", Role.TIMINGS)


def _add_plans(writer: Writer, name: str, plans: EnginePlans) -> None:
    from pipeline.bundle import describe
    from pipeline.bundle.manifest import Role

    for item in plans.plans:
        digest = writer.copy(item.path, describe.plan_name(item), Role.PLAN)
        if digest != item.digest:
            raise ShipError(f"{item.path.name} is not the plan that was built", where=name)


def _add_graph(writer: Writer, mixed: OnnxModel) -> None:
    """The mixed graph, its weights, and its emulation over the same weights."""
    from pipeline.bundle.manifest import Role
    from pipeline.graph import io
    from pipeline.precision.emulation.emulate import emulate

    for source in sorted(mixed.path.parent.glob(f"{mixed.path.name}*")):
        writer.copy(source, source.name, Role.ONNX)
    model = io.load(writer.folder / mixed.path.name)
    with writer.adding(EMULATED, Role.EMULATED) as target:
        io.save_beside(emulate(model), target)
