"""Put what was shown to be right into one folder; refuse everything else."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core import serde
from pipeline.core.artifacts import (
    Bundle,
    EnginePlans,
    OnnxModel,
    PrecisionPlan,
    RenderedReport,
    ValidationReport,
    Weights,
)
from pipeline.core.errors import ShipError
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange
from pipeline.core.stage import stage

if TYPE_CHECKING:
    from pipeline.bundle.writer import Writer

PRECISION = "precision.json"


@stage(
    version=1,
    rooms=("bundle", "bundle/templates/README.md.j2"),
    tools=("numpy", "onnx", "onnx-ir", "onnxruntime-gpu", "polygraphy", "tensorrt", "tensorrt-rtx", "torch", "jinja2"),
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
        out: Folder that gets the bundle.
        progress: Receives a step a file.

    Raises:
        ShipError: Validation did not pass, was made on other weights, or has gaps; the weights are not the real ones;
            or a plan is not the one that was validated.
    """
    from pipeline.bundle import describe, gate, readme
    from pipeline.bundle.manifest import Manifest, Role
    from pipeline.bundle.writer import Writer

    _refuse(name, gate.refusals(weights, mixed, plan, plans, report))
    writer = Writer(folder=out / "bundle", progress=progress)
    _add_plans(writer, name, plans)
    for source in sorted(mixed.path.parent.glob(f"{mixed.path.name}*")):
        writer.copy(source, source.name, Role.ONNX)
    writer.write(serde.dumps(plan), PRECISION, Role.PRECISION)
    for source in (rendered.html, rendered.json):
        writer.copy(source, source.name, Role.REPORT)
    holder = tokenizer if tokenizer is not None and tokenizer.tokenizer is not None else weights
    _add_tokenizer(writer, holder.tokenizer)
    record = Manifest(
        engine=name,
        files=writer.files,
        plans=tuple(describe.plan(item) for item in plans.plans),
        graph=describe.graph(mixed, mixed.path.name, axes),
        precision=describe.precision(plan, PRECISION),
        weights=weights.provenance,
        tokenizer=None if holder.tokenizer is None else holder.provenance,
        verdict=describe.verdict(report),
        versions=describe.versions(),
    )
    writer.write(readme.render(record), "README.md", Role.README)
    return Bundle(folder=writer.folder, digest=writer.finish(dataclasses.replace(record, files=writer.files)))


def _refuse(name: str, refusals: tuple[str, ...]) -> None:
    if refusals:
        listing = "".join(f"\n  - {line}" for line in refusals)
        raise ShipError(f"refused to ship{listing}", where=name, hint="report.html shows each layer and its reason")


def _add_plans(writer: Writer, name: str, plans: EnginePlans) -> None:
    from pipeline.bundle import describe
    from pipeline.bundle.manifest import Role

    for item in plans.plans:
        digest = writer.copy(item.path, describe.plan_name(item), Role.PLAN)
        _refuse(name, () if digest == item.digest else (f"{item.path.name} is not the plan that was built",))


def _add_tokenizer(writer: Writer, folder: Path | None) -> None:
    from pipeline.bundle import tokenizer
    from pipeline.bundle.manifest import Role

    for source in tokenizer.files(folder) if folder is not None else ():
        writer.copy(source, f"tokenizer/{source.name}", Role.TOKENIZER)
