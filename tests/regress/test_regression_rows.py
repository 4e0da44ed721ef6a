import dataclasses
import json
import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core import serde
from pipeline.core.artifacts import Provenance
from pipeline.core.formats import Format
from pipeline.regress import forms
from pipeline.regress.baseline import Output, Task
from pipeline.regress.compare import Change, Comparison, compare
from tests.regress.figures import BASELINE, figures, module, with_module, with_plan

NAN = math.nan

REGRESSED = dataclasses.replace(
    with_module("encoder.norm", own_db=40.0, sqnr_db=40.0, nodes={"pow": "Pow fp16, by user"}),
    outputs={"y": Output(sqnr_db=39.0, max_abs=0.4, passed=True)},
)
"""A norm that was moved to fp16, and a module after it that inherits."""
REGRESSED = dataclasses.replace(
    REGRESSED, modules={**REGRESSED.modules, "head": module(2, sqnr_db=41.0)}, graphs={**REGRESSED.graphs, "mixed": "4"}
)


def worse(now):
    return [(row.part, row.name, row.why) for row in compare(BASELINE, now).of(Change.WORSE)]


def test_the_same_figures_pass():
    found = compare(BASELINE, figures())
    assert found.passed
    assert not found.improved
    assert found.differences == ()
    assert {row.change for row in found.rows} == {Change.SAME}


def test_a_module_in_fp16_is_named_with_the_decision_and_what_inherits_from_it():
    decision = "pow (module encoder.norm): Pow fp32, by norm → Pow fp16, by user"
    assert worse(REGRESSED) == [
        ("output", "y", f"encoder.norm: {decision}"),
        ("own error", "encoder.norm", decision),
        ("module", "encoder.norm", decision),
        ("module", "head", "inherited from encoder.norm"),
    ]
    assert compare(BASELINE, REGRESSED).culprits == ("encoder.norm",)


@pytest.mark.parametrize(
    ("now", "part"),
    [
        (figures(passed=False), "verdict"),
        (figures(outputs={}), "output"),
        (figures(outputs={"y": Output(sqnr_db=NAN, max_abs=NAN, passed=True)}), "output"),
        (figures(outputs={"y": Output(sqnr_db=57.4, max_abs=0.1, passed=True)}), "output"),
        (figures(tasks={"similarity": Task(reference=0.656, candidate=NAN, passed=True)}), "task"),
        (figures(tasks={"similarity": Task(reference=0.656, candidate=0.6544, passed=True)}), "task"),
        (figures(tasks={}), "task"),
        (with_module("head", own_db=69.9), "own error"),
        (with_module("head", sqnr_db=NAN), "module"),
        (with_module("head", compared=1), "module"),
        (with_plan(fused_attentions=0), "fused attentions"),
        (with_plan(kernels={"function _gemm_mha_v2": 1, "fully_connected fc": 4}), "kernels"),
        (with_plan(kernels=None, fused_attentions=None), "kernels"),
        (with_plan(size=1_010_001), "plan size"),
        (figures(plans={}), "plan"),
        (figures(casts=5), "casts"),
        (figures(weights=Provenance(source="x", digest="b" * 64, licence="MIT", real=True)), "weights"),
    ],
)
def test_each_worsening_turns_it_red(now, part):
    assert part in [row[0] for row in worse(now)]


def test_what_is_within_its_bound_is_the_same():
    now = dataclasses.replace(
        with_module("head", own_db=70.0, sqnr_db=57.5),
        outputs={"y": Output(sqnr_db=57.5, max_abs=0.1, passed=True)},
        tasks={"similarity": Task(reference=0.656, candidate=0.6546, passed=True)},
    )
    assert worse(now) == []


def test_an_improvement_passes_and_offers_an_update():
    found = compare(BASELINE, with_plan(kernels={"function _gemm_mha_v2": 1, "fully_connected fc": 2}))
    assert found.improved
    assert "keep the improvement: trt-pipeline baseline update tiny" in forms.text([found])
    assert not compare(BASELINE, REGRESSED).improved


def test_without_a_decision_the_version_explains():
    now = dataclasses.replace(with_plan(fused_attentions=0, version="1.8"), versions={"tensorrt-rtx": "1.8"})
    (row,) = [row for row in compare(BASELINE, now).of(Change.WORSE) if row.part == "fused attentions"]
    assert row.why == "built by tensorrt-rtx 1.8, was 1.7.1.116"
    assert "tensorrt-rtx 1.7.1.116 → 1.8" in compare(BASELINE, now).differences


@given(now=st.floats(), allowed=st.floats(min_value=0, max_value=100))
def test_a_figure_passes_only_at_or_above_its_bound(now, allowed):
    baseline = dataclasses.replace(BASELINE, bounds=dataclasses.replace(BASELINE.bounds, outputs={"y": allowed}))
    found = compare(baseline, figures(outputs={"y": Output(sqnr_db=now, max_abs=0.0, passed=True)}))
    assert found.passed == (now >= allowed)


def test_the_forms_tell_the_same():
    found = [compare(BASELINE, REGRESSED)]
    root = ElementTree.fromstring(forms.xml(found))
    assert root.attrib["failures"] == "4"
    assert root.attrib["tests"] == str(len(found[0].rows))
    text = forms.markdown(found)
    assert "## ❌ tiny: 4 figures worse" in text
    assert "- first made worse by its own error: encoder.norm" in text
    assert text.count("| ❌ |") == 4
    assert forms.text(found).startswith("WORSE  tiny: 4 figures worse")
    assert serde.loads(tuple[Comparison, ...], serde.dumps(found)) == tuple(found)
    assert json.loads(serde.dumps(found))[0]["culprits"] == ["encoder.norm"]


def test_seeded_weights_are_named():
    seeded = Provenance(source="seeded:0", digest="a" * 64, licence="MIT", real=False)
    assert "SEEDED weights" in forms.headline(compare(BASELINE, figures(weights=seeded)))


def test_fp32_leaves_an_exact_module_no_room():
    assert worse(with_module("encoder.norm", own_db=74.0, own_format=Format.FP16))
