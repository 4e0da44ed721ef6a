"""The verdict as JUnit XML, for CI."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from pipeline.core.artifacts import Layer, ValidationReport

UNWRITABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""


def render(report: ValidationReport) -> str:
    """One test case an output, task and layer. A layer that was not compared is skipped, with its reason."""
    suites = [
        suite("outputs", [case(item.name, item.origin, item.passed, item.reason) for item in report.outputs]),
        suite("tasks", [case(item.metric, item.origin, item.passed, item.reason) for item in report.tasks]),
        suite("layers", [_layer(layer) for layer in report.layers]),
        suite("verdict", [case(report.engine, "verdict", report.passed, "; ".join(report.failures))]),
    ]
    return document(f"trt-pipeline {report.engine}", suites)


def document(name: str, suites: list[ElementTree.Element]) -> str:
    """The XML of test suites, with their counts added up."""
    root = ElementTree.Element("testsuites", _counts(suites, name=name))
    root.extend(suites)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def suite(name: str, cases: list[ElementTree.Element]) -> ElementTree.Element:
    """One suite, with its counts."""
    element = ElementTree.Element("testsuite")
    element.extend(cases)
    element.attrib.update(
        name=name,
        tests=str(len(cases)),
        failures=str(len(element.findall("testcase/failure"))),
        skipped=str(len(element.findall("testcase/skipped"))),
        errors="0",
    )
    return element


def _counts(suites: list[ElementTree.Element], *, name: str) -> dict[str, str]:
    keys = ("tests", "failures", "skipped", "errors")
    return {"name": name} | {key: str(sum(int(suite.attrib[key]) for suite in suites)) for key in keys}


def _layer(layer: Layer) -> ElementTree.Element:
    element = case(layer.tensor, layer.module or layer.op, not layer.bad, layer.reason or "")
    if layer.stats is None and not layer.bad:
        ElementTree.SubElement(element, "skipped", message=_writable(f"not compared: {layer.reason}"))
    return element


def case(name: str, group: str, passed: bool, reason: str) -> ElementTree.Element:
    """One test case; a reason is shown where it failed."""
    element = ElementTree.Element("testcase", name=_writable(name), classname=_writable(str(group)))
    if not passed:
        ElementTree.SubElement(element, "failure", message=_writable(reason))
    return element


def _writable(text: str) -> str:
    return UNWRITABLE.sub("\ufffd", text)
