"""Whether the files of a bundle say the same: plan and manifest, report and plan, provenance and core."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping

from pipeline.bundle import manifest, sbom
from pipeline.bundle.manifest import File, Manifest, Plan, Role
from pipeline.core import plan_header, serde
from pipeline.core.artifacts import PrecisionPlan, ValidationReport

RTX = "tensorrt-rtx"
REPORT = f"{manifest.ATTESTATION}/report.json"
PROVENANCE = f"{manifest.ATTESTATION}/provenance.intoto.json"

LARGEST = 64 << 20
"""A record larger than this many bytes is not read; the digests of it are compared all the same."""

RECORDS = (Role.PRECISION, Role.REPORT, Role.PROVENANCE, Role.SBOM)
"""Files that are read whole."""

Kept = bytes
"""The content of a record, or the head of a plan."""


def kept_bytes(file: File) -> int:
    """Bytes of a file that the checks here read."""
    if file.role is Role.PLAN:
        return plan_header.SIZE
    return file.size if file.role in RECORDS and file.size <= LARGEST else 0


def problems(record: Manifest, kept: Mapping[str, Kept]) -> Iterator[str]:
    """Every contradiction, one line each."""
    for plan in record.plans:
        yield from _about_plan(plan, record.files[plan.path], kept[plan.path])
    try:
        recipe = serde.loads(PrecisionPlan, kept[record.precision.path])
        report = serde.loads(ValidationReport, kept[REPORT]) if REPORT in record.files else None
    except ValueError as error:
        yield f"{record.precision.path} or {REPORT} is not a valid record: {str(error).splitlines()[0]}"
        return
    yield from _about_recipe(record, recipe)
    if report is not None:
        yield from _about_report(record, recipe, report)
    if PROVENANCE in record.files:
        yield from _about_provenance(record, kept[PROVENANCE])
    if sbom.FILE in record.files:
        yield from _about_materials(record, kept[sbom.FILE])


def checked(record: Manifest, kept: Mapping[str, Kept]) -> Iterator[str]:
    """What `problems` compared, in words."""
    readable = [plan.path for plan in record.plans if plan_header.read(kept[plan.path]) is not None]
    if readable:
        yield f"header of {', '.join(readable)}: version and targets are those in the manifest"
    yield f"{record.precision.path} is the recipe in the manifest"
    if REPORT in record.files:
        yield f"{REPORT} is about this precision plan and these weights, and has the verdict in the manifest"
    if PROVENANCE in record.files:
        yield f"{PROVENANCE} is about these files"
    if sbom.FILE in record.files:
        yield f"{sbom.FILE} lists these files"


def unread(record: Manifest, kept: Mapping[str, Kept]) -> Iterator[str]:
    """What could not be compared, with the reason."""
    for plan in record.plans:
        if plan_header.read(kept[plan.path]) is None:
            yield f"{plan.path}: a {plan.flavour} plan has no header that can be read; only its digest was compared"
    if REPORT not in record.files:
        yield "the report is not part of this bundle"


def _about_plan(plan: Plan, file: File, head: Kept) -> Iterator[str]:
    header = plan_header.read(head)
    if plan.flavour != RTX:
        if header is not None:
            yield f"{plan.path}: a TensorRT-RTX plan, and the manifest says {plan.flavour}"
    elif header is None:
        yield f"{plan.path}: not a TensorRT-RTX plan"
    else:
        if header.length != file.size:
            yield f"{plan.path}: its header says {header.length} bytes, the file has {file.size}"
        if header.version != plan.version:
            yield f"{plan.path}: built by {header.version}, and the manifest says {plan.version}"
        if set(header.targets) != set(plan.targets):
            yield (
                f"{plan.path}: built for {', '.join(header.targets)}, and the manifest says {', '.join(plan.targets)}"
            )


def _about_recipe(record: Manifest, recipe: PrecisionPlan) -> Iterator[str]:
    said = record.precision
    if (said.policy, said.low, said.reference) != (recipe.policy, str(recipe.low), recipe.model):
        yield f"{said.path}: policy, low format or model differ from those in the manifest"
    nodes = Counter("integer" if item.result is None else str(item.result) for item in recipe.decisions)
    if dict(nodes) != said.nodes:
        yield f"{said.path}: its decisions are not those that the manifest counts"


def _about_report(record: Manifest, recipe: PrecisionPlan, report: ValidationReport) -> Iterator[str]:
    verdict = record.verdict
    if report.engine != record.engine:
        yield f"{REPORT}: about engine {report.engine}, not {record.engine}"
    if report.policy != recipe.policy:
        yield f"{REPORT}: about policy {report.policy}, and the plan is {recipe.policy}"
    if report.provenance != record.weights:
        yield f"{REPORT}: about other weights ({report.provenance.source})"
    found = (report.passed, report.samples, len(report.layers), report.outputs, report.tasks)
    if serde.to_value(found) != serde.to_value(
        (verdict.passed, verdict.samples, verdict.layers, verdict.outputs, verdict.tasks)
    ):
        yield f"{REPORT}: its verdict or figures are not those in the manifest"
    decided = {item.node for item in recipe.decisions}
    if strangers := sorted({layer.node for layer in report.layers} - decided):
        yield f"{REPORT}: names nodes that the precision plan does not have, such as {strangers[0]}"


def _about_provenance(record: Manifest, content: Kept) -> Iterator[str]:
    core = {name: file.sha256 for name, file in manifest.core_files(record.files).items()}
    try:
        statement = json.loads(content)
        subject = {item["name"]: item["digest"]["sha256"] for item in statement["subject"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        yield f"{PROVENANCE}: not an in-toto statement"
        return
    if subject != core:
        yield f"{PROVENANCE}: its subject is not the core of this bundle"


def _about_materials(record: Manifest, content: Kept) -> Iterator[str]:
    try:
        components = [item for item in json.loads(content)["components"] if item["type"] == "file"]
        found = {item["name"]: [entry["content"] for entry in item["hashes"]] for item in components}
    except (ValueError, KeyError, TypeError, RecursionError):
        yield f"{sbom.FILE}: not a bill of materials in CycloneDX"
        return
    if found != {name: [file.sha256] for name, file in sbom.listed(record.files).items()}:
        yield f"{sbom.FILE}: the files that it lists are not those of this bundle"
