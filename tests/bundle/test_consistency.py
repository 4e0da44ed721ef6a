"""Files that have the digests in the manifest, and contradict one another."""

import dataclasses
import json

import pytest

from pipeline.bundle import manifest, sbom, verify
from pipeline.bundle.manifest import File, Role
from pipeline.core import digest, serde
from pipeline.core.artifacts import PrecisionPlan, ValidationReport
from pipeline.core.errors import BundleError
from tests import records, shipping

PLAN = "tensorrt-rtx-sm86-sm89.plan"
REPORT = "attestation/report.json"
PROVENANCE = "attestation/provenance.intoto.json"


@pytest.fixture
def bundle(tmp_path):
    return shipping.shipped(tmp_path / "bundle")


def replace(bundle, name, content):
    """Put other content in place of a file, and name it in the manifest."""
    record = verify.read(bundle)
    files = {**record.files, name: put(bundle, name, record.files[name].role, content)}
    write(bundle, dataclasses.replace(record, files=files, core=manifest.core_digest(files)))


def put(bundle, name, role, content):
    (bundle / name).write_bytes(content)
    return File(role=role, size=len(content), sha256=digest.of_bytes(content))


def write(bundle, record):
    """Write the manifest, and a bill of materials and a provenance that know its core."""
    materials = sbom.renew((bundle / sbom.FILE).read_bytes(), record.engine, record.files, epoch=None)
    files = {**record.files, sbom.FILE: put(bundle, sbom.FILE, Role.SBOM, materials.encode())}
    record = dataclasses.replace(record, files=files, core=manifest.core_digest(files))
    path = bundle / PROVENANCE
    statement = json.loads(path.read_text())
    core = manifest.core_files(record.files)
    statement["subject"] = [{"name": name, "digest": {"sha256": file.sha256}} for name, file in core.items()]
    named = put(bundle, PROVENANCE, Role.PROVENANCE, json.dumps(statement).encode())
    (bundle / "manifest.json").write_text(
        manifest.dumps(dataclasses.replace(record, files={**record.files, PROVENANCE: named}))
    )


def problems(bundle):
    with pytest.raises(BundleError) as caught:
        verify.verify(bundle)
    return [line.removeprefix("  - ") for line in str(caught.value).splitlines()[1:-1]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no plan", "not a TensorRT-RTX plan"),
        (records.plan_bytes(version=(1, 6, 0, 1)), "built by 1.6.0.1, and the manifest says 1.7.1.116"),
        (records.plan_bytes(mask=8 | 16), "built for 8.9, 12.0, and the manifest says 8.6, 8.9"),
        (records.plan_bytes() + b"more", "its header says 68 bytes, the file has 72"),
    ],
)
def test_a_plan_whose_header_says_something_else(bundle, content, expected):
    replace(bundle, PLAN, content)
    assert problems(bundle) == [f"{PLAN}: {expected}"]


def test_an_rtx_plan_that_is_said_to_be_another_flavours(bundle):
    record = verify.read(bundle)
    plans = tuple(dataclasses.replace(plan, flavour="tensorrt") for plan in record.plans)
    write(bundle, dataclasses.replace(record, plans=plans))
    assert problems(bundle) == [f"{PLAN}: a TensorRT-RTX plan, and the manifest says tensorrt"]


def test_a_tensorrt_plan_is_said_to_be_unreadable(bundle):
    replace(bundle, PLAN, b"ftrt and more")
    record = verify.read(bundle)
    write(bundle, dataclasses.replace(record, plans=(dataclasses.replace(record.plans[0], flavour="tensorrt"),)))
    assert f"{PLAN}: a tensorrt plan has no header that can be read; only its digest was compared" in (
        verify.verify(bundle).warnings
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"engine": "other"}, "about engine other, not tiny"),
        ({"policy": "all-fp32"}, "about policy all-fp32, and the plan is sensitive"),
        ({"provenance": records.SEEDED}, "about other weights (seeded:0)"),
        ({"samples": 9}, "its verdict or figures are not those in the manifest"),
        (
            {"layers": (records.layer("norm"), records.layer("gone"))},
            "names nodes that the precision plan does not have, such as gone",
        ),
    ],
)
def test_a_report_of_something_else(bundle, change, expected):
    report = serde.loads(ValidationReport, (bundle / REPORT).read_bytes())
    replace(bundle, REPORT, serde.dumps(dataclasses.replace(report, **change)).encode())
    assert problems(bundle) == [f"{REPORT}: {expected}"]


def test_a_recipe_of_something_else(bundle):
    recipe = serde.loads(PrecisionPlan, (bundle / "precision.json").read_bytes())
    replace(bundle, "precision.json", serde.dumps(dataclasses.replace(recipe, model="0" * 64)).encode())
    assert problems(bundle) == ["precision.json: policy, low format or model differ from those in the manifest"]
    fewer = dataclasses.replace(recipe, decisions=recipe.decisions[:1])
    replace(bundle, "precision.json", serde.dumps(fewer).encode())
    assert "precision.json: its decisions are not those that the manifest counts" in problems(bundle)


def test_a_provenance_of_something_else(bundle):
    record = verify.read(bundle)
    for content in (b"{}", b"[]", json.dumps({"subject": []}).encode()):
        named = put(bundle, PROVENANCE, Role.PROVENANCE, content)
        (bundle / "manifest.json").write_text(
            manifest.dumps(dataclasses.replace(record, files={**record.files, PROVENANCE: named}))
        )
        assert problems(bundle)[0].startswith(f"{PROVENANCE}: ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[]", "not a bill of materials in CycloneDX"),
        (b'{"components": [{"type": "file", "name": "x"}]}', "not a bill of materials in CycloneDX"),
        (b'{"components": []}', "the files that it lists are not those of this bundle"),
    ],
)
def test_a_bill_of_materials_of_something_else(bundle, content, expected):
    record = verify.read(bundle)
    files = {**record.files, sbom.FILE: put(bundle, sbom.FILE, Role.SBOM, content)}
    changed = dataclasses.replace(record, files=files, core=manifest.core_digest(files))
    (bundle / "manifest.json").write_text(manifest.dumps(changed))
    assert f"{sbom.FILE}: {expected}" in problems(bundle)


def test_a_manifest_with_more_than_its_fields_or_a_key_twice_is_refused(bundle):
    path = bundle / "manifest.json"
    text, altered = path.read_text(), "it is not as it was written: its digest does not fit the rest of it"
    for changed, expected in (
        (text.replace("{", '{"more": 1,', 1), altered),
        (text.replace('"schema": 3', '"schema": 3, "schema": 3'), altered),
        (text.replace('"schema": 3', '"schema": "3"'), altered),
        (text + " ", altered),
        (text.replace('"schema": 3', '"schema": 2'), "schema must be 3, got 2"),
    ):
        path.write_text(changed)
        with pytest.raises(BundleError, match="not a valid manifest: ") as caught:
            verify.read(bundle)
        assert expected in str(caught.value)


def test_a_core_digest_of_other_files_is_refused(bundle):
    path = bundle / "manifest.json"
    path.write_text(path.read_text().replace(verify.read(bundle).core, "0" * 64))
    with pytest.raises(BundleError, match="core is 0000"):
        verify.read(bundle)
