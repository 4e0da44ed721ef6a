"""Writing a rebuild into the bundle: plans, evidence, materials, README, provenance, manifest and signature."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

from pipeline.bundle import archive, describe, manifest, provenance, readme, sbom, signing
from pipeline.bundle.consistency import PROVENANCE
from pipeline.bundle.manifest import ATTESTATION, File, Manifest, Role, core_digest, core_files
from pipeline.bundle.opening import Opened
from pipeline.core import digest, serde
from pipeline.core.artifacts import EnginePlan
from pipeline.rebuild.evidence import Finding

BUILD_TYPE = "https://trt-pipeline.invalid/rebuild/v1"
README = "README.md"


def add(folder: Path, before: Manifest, plans: tuple[EnginePlan, ...]) -> Manifest:
    """Copy new plans into the bundle's copy in `folder`.

    Returns:
        A manifest that names them, to run them by; a plan of the same name as a new one gave way to it.
    """
    rows = {describe.plan_name(item): describe.plan(item) for item in plans}
    for item in plans:
        shutil.copyfile(item.path, folder / describe.plan_name(item))
    kept = tuple(plan for plan in before.plans if plan.path not in rows)
    files = {**before.files, **{name: _file(folder, name, Role.PLAN) for name in rows}}
    return _with(before, files, plans=(*kept, *rows.values()))


def seal(folder: Path, before: Opened, record: Manifest, findings: tuple[Finding, ...], sign: Path | None) -> Manifest:
    """Write all that follows from the new plans, the manifest last; sign it where a private key is given.

    The signature of before is gone: what it was made of is no more.

    Returns:
        The manifest as written.
    """
    (folder / manifest.SIGNATURE).unlink(missing_ok=True)
    record = _state_limits(record, findings)
    record = _put_evidence(folder, before, record, findings)
    record = _put_materials(folder, record)
    record = _put_readme(folder, record)
    record = _put_provenance(folder, before, record, findings)
    (folder / manifest.FILE).write_text(manifest.dumps(record), encoding="utf-8")
    if sign is not None:
        signing.sign(folder, signing.read_private(sign))
    return record


def _state_limits(record: Manifest, findings: tuple[Finding, ...]) -> Manifest:
    """Say of each new plan what was not shown of it: validation was before it."""
    names = {finding.plan for finding in findings}
    earlier = tuple(line for line in record.verdict.not_run if line.partition(":")[0] not in names)
    lines = tuple(f"{item.plan}: rebuilt from this bundle; {item.check.summary}" for item in findings if _is_run(item))
    return dataclasses.replace(record, verdict=dataclasses.replace(record.verdict, not_run=(*earlier, *lines)))


def _is_run(finding: Finding) -> bool:
    return finding.check.name == "engine"


def _put_evidence(folder: Path, before: Opened, record: Manifest, findings: tuple[Finding, ...]) -> Manifest:
    files = dict(record.files)
    for name in sorted({finding.plan for finding in findings}):
        path = f"{ATTESTATION}/rebuild-{Path(name).stem}.json"
        checks = [finding.check for finding in findings if finding.plan == name]
        evidence = {"plan": name, "rebuilt_from": before.proof.digest, "checks": checks}
        files[path] = _put(folder, path, serde.dumps(evidence), Role.REPORT)
    return _with(record, files)


def _put_materials(folder: Path, record: Manifest) -> Manifest:
    """Renew the bill of materials where there is one: the new plans, and the tools that made them."""
    if sbom.FILE not in record.files:
        return record
    before = (folder / sbom.FILE).read_bytes()
    text = sbom.renew(before, record.engine, record.files, epoch=archive.given_epoch())
    return _with(record, {**record.files, sbom.FILE: _put(folder, sbom.FILE, text, Role.SBOM)})


def _put_readme(folder: Path, record: Manifest) -> Manifest:
    """Write the README anew where there is one; it lists every file of the core but itself."""
    if README not in record.files:
        return record
    others = {name: file for name, file in record.files.items() if name != README}
    text = readme.render(_with(record, others))
    return _with(record, {**others, README: _put(folder, README, text, Role.README)})


def _put_provenance(folder: Path, before: Opened, record: Manifest, findings: tuple[Finding, ...]) -> Manifest:
    """State where the new core comes from: the bundle of before, whose own statement is kept beside."""
    files = dict(record.files)
    if PROVENANCE in files:
        kept = f"{ATTESTATION}/provenance-{before.manifest.core[:12]}.intoto.json"
        (folder / PROVENANCE).rename(folder / kept)
        files[kept] = files.pop(PROVENANCE)
    statement = _statement(record, before, sorted({finding.plan for finding in findings}))
    files[PROVENANCE] = _put(folder, PROVENANCE, serde.dumps(statement), Role.PROVENANCE)
    return _with(record, files)


def _statement(record: Manifest, before: Opened, plans: list[str]) -> dict[str, Any]:
    return {
        "_type": provenance.STATEMENT,
        "subject": [
            {"name": name, "digest": {"sha256": file.sha256}} for name, file in core_files(record.files).items()
        ],
        "predicateType": provenance.PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"engine": record.engine, "plans": plans},
                "resolvedDependencies": [{"name": manifest.FILE, "digest": {"sha256": before.proof.digest}}],
            },
            "runDetails": {"builder": {"id": provenance.BUILDER, "version": describe.versions()}},
        },
    }


def _put(folder: Path, name: str, text: str, role: Role) -> File:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return _file(folder, name, role)


def _file(folder: Path, name: str, role: Role) -> File:
    path = folder / name
    return File(role=role, size=path.stat().st_size, sha256=digest.of_file(path))


def _with(record: Manifest, files: dict[str, File], **more: Any) -> Manifest:
    return dataclasses.replace(record, files=files, core=core_digest(files), **more)
