import json
import uuid

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from pipeline.bundle import sbom
from pipeline.bundle.manifest import File, Role
from pipeline.core.errors import BundleError
from tests import records

FILES = {
    "model.onnx": File(role=Role.ONNX, size=1, sha256="1" * 64),
    "attestation/report.json": File(role=Role.REPORT, size=1, sha256="2" * 64),
}


def made(files=FILES, epoch=None, provenance=records.REAL):
    return sbom.render("tiny", files, {"weights": provenance}, epoch=epoch)


def components():
    return by_name(made())


def by_name(text):
    return {item["bom-ref"].partition("@")[0]: item for item in json.loads(text)["components"]}


@pytest.mark.parametrize("epoch", [None, 0, 1767225600])
def test_it_follows_cyclonedx_own_schema(epoch):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(made(epoch=epoch)) is None


def test_the_core_and_the_weights_are_in_it_and_measurements_are_not():
    found = components()
    assert found["file:model.onnx"]["hashes"] == [{"alg": "SHA-256", "content": "1" * 64}]
    assert "file:attestation/report.json" not in found
    assert found["weights"]["name"] == "pypi:tiny==1.0"
    assert found["weights"]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert found["weights"]["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]


def test_the_tools_and_tensorrts_libraries_are_in_it_with_their_licences():
    found = components()
    assert found["pypi:onnx"]["purl"].startswith("pkg:pypi/onnx@")
    assert found["pypi:tensorrt-rtx"]["licenses"] == [{"license": {"name": "Proprietary"}}]
    libraries = [name for name in found if name.startswith("pypi:tensorrt-rtx-cu") and name.endswith("-libs")]
    assert libraries
    assert all("licenses" in item for name, item in found.items() if name.startswith("pypi:"))


def test_the_serial_number_derives_from_the_content():
    first = json.loads(made())["serialNumber"]
    assert first == json.loads(made())["serialNumber"]
    assert uuid.UUID(first.removeprefix("urn:uuid:")).version == 5
    changed = {**FILES, "model.onnx": File(role=Role.ONNX, size=1, sha256="3" * 64)}
    assert json.loads(made(changed))["serialNumber"] != first
    measured = {**FILES, "attestation/report.json": File(role=Role.REPORT, size=1, sha256="3" * 64)}
    assert made(measured) == made()


def test_there_is_a_time_only_where_it_is_given():
    assert "timestamp" not in json.loads(made())["metadata"]
    assert json.loads(made(epoch=1767225600))["metadata"]["timestamp"] == "2026-01-01T00:00:00+00:00"


def test_a_licence_that_nobody_stated_is_said_so():
    unknown = type(records.REAL)(source="local:x", digest="a" * 64, licence="NOASSERTION", real=True)
    text = made(provenance=unknown)
    assert '"name": "NOASSERTION"' in text
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None


def test_a_renewed_one_lists_the_files_of_now_and_keeps_what_the_others_were_made_with():
    torch = made().replace("pypi:numpy@", "pypi:elsewhere@").replace('"numpy"', '"elsewhere"')
    plan = {"new.plan": File(role=Role.PLAN, size=1, sha256="4" * 64)}
    text = sbom.renew(torch.encode(), "tiny", {**FILES, **plan}, epoch=None)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    found = by_name(text)
    assert found["file:new.plan"]["hashes"] == [{"alg": "SHA-256", "content": "4" * 64}]
    assert {"weights", "pypi:elsewhere", "pypi:numpy", "file:model.onnx"} <= found.keys()
    assert json.loads(text)["serialNumber"] == json.loads(made({**FILES, **plan}))["serialNumber"]


def test_a_renewed_one_of_the_same_files_is_the_same():
    assert sbom.renew(made().encode(), "tiny", FILES, epoch=None) == made()


@pytest.mark.parametrize("content", [b"", b"[]", b'{"components": 1}', b'{"components": [{"type": "what"}]}'])
def test_what_is_no_bill_of_materials_cannot_be_renewed(content):
    with pytest.raises(BundleError) as caught:
        sbom.renew(content, "tiny", FILES, epoch=None)
    assert str(caught.value) == "sbom.cdx.json: not a bill of materials in CycloneDX"
