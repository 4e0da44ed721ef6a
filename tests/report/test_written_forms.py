import json
from xml.etree import ElementTree

import pytest

from pipeline.core import digest, serde
from pipeline.core.artifacts import ValidationReport, validation
from pipeline.report import junit, markdown, schema
from tests import records


def test_junit_counts_what_failed_and_what_was_not_compared():
    layers = (
        records.layer("good"),
        records.layer("bad", bad=True, reason="3 NaN", stats=records.stats(1.0)),
        records.layer("gone", stats=None, reason="fused away"),
        records.layer("lost", stats=None, bad=True, reason="not observed"),
    )
    root = ElementTree.fromstring(junit.render(records.report(passed=False, failures=("bad: 3 NaN",), layers=layers)))
    assert root.attrib == {
        "name": "trt-pipeline tiny",
        "tests": "7",
        "failures": "3",
        "skipped": "1",
        "errors": "0",
    }
    assert root.find(".//testcase[@name='gone_out']/skipped").attrib["message"] == "not compared: fused away"
    assert root.find(".//testcase[@name='bad_out']/failure").attrib["message"] == "3 NaN"
    assert root.find("testsuite[@name='verdict']").attrib["failures"] == "1"


def test_junit_holds_what_xml_cannot():
    report = records.report(layers=(records.layer("a\x00<&\x1b", tensor="t\x0b"),))
    root = ElementTree.fromstring(junit.render(report))
    assert root.find("testsuite[@name='layers']/testcase").attrib["name"] == "t\ufffd"


def test_markdown_of_a_failed_report(tmp_path):
    text = markdown.render(records.failed(), records.precision(), records.plans(tmp_path / "x.plan"))
    assert text.startswith("## tiny: ❌ not passed\n")
    assert "1 bad" in text
    assert "- proj\\_out (MatMul in fp16): 12.0 dB" in text
    assert "Nodes: 1 fp32, 1 fp16." in text
    assert "| tensorrt-rtx 1.7.1.116 | 8.6, 8.9 | 0.0 | 2 | 1 |" in text


def test_markdown_shows_hostile_names_as_text(tmp_path):
    layer = records.layer("n", tensor="a|b<script>*x*\nnext", bad=True, reason="r", stats=records.stats(1.0))
    report = records.report(passed=False, layers=(layer,))
    text = markdown.render(report, records.precision(), records.plans(tmp_path / "x.plan"))
    assert "| a\\|b\\<script\\>\\*x\\* next |" in text


def test_json_goes_there_and_back_with_what_is_not_finite():
    report = records.failed(layers=(records.layer("n", stats=records.stats(float("inf")), bad=True, reason="r"),))
    assert serde.loads(ValidationReport, serde.dumps(report)) == report


def test_the_published_schema_is_the_records():
    assert schema.FILE.read_text(encoding="utf-8") == schema.current(), (
        "write it anew from pipeline.report.schema.current()"
    )


FORM = (2, "774f889fa1031a13ed5cf8296dd6d79a2aa0161dca62688900d226e984ddfa0b")
"""The version of the report's JSON form, and the digest of that form without what only people read."""


def test_whatever_changes_the_form_raises_its_version():
    form = _read_by_programs(json.loads(schema.current()))
    assert (validation.SCHEMA, digest.of_value(form)) == FORM, (
        "the form has changed: raise validation.SCHEMA, and write its digest here"
    )


def _read_by_programs(node):
    match node:
        case dict():
            words = {key for key in ("title", "description") if isinstance(node.get(key), str)}
            return {key: _read_by_programs(item) for key, item in node.items() if key not in words}
        case list():
            return [_read_by_programs(item) for item in node]
    return node


def test_a_report_of_another_version_is_refused():
    written = serde.to_value(records.report())
    with pytest.raises(ValueError, match=r"schema must be 2, got 1"):
        serde.loads(ValidationReport, json.dumps({**written, "schema": 1}))


def test_the_schema_requires_every_field_and_admits_no_other():
    published = json.loads(schema.current())
    layer = published["$defs"]["Layer"]
    assert layer["additionalProperties"] is False
    assert sorted(layer["properties"]) == layer["required"]
    written = serde.to_value(records.report())
    assert sorted(written) == published["required"]
    assert sorted(written["layers"][0]) == layer["required"]
