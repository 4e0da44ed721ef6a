import dataclasses
import math

import pytest

from pipeline.bundle import verify
from pipeline.bundle.manifest import Role
from pipeline.core import digest, serde
from pipeline.core.artifacts import Check, PrecisionPlan, ValidationReport
from pipeline.core.errors import ShipError
from pipeline.core.progress import Silent
from pipeline.stages.ship import ship
from tests import records, shipping


@pytest.fixture
def inputs(tmp_path):
    return shipping.inputs(tmp_path)


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def refusal(inputs, out, **changed):
    report = changed.pop("report", inputs["report"])
    subjects = changed.pop("subjects", inputs["report"].subjects)
    changed["report"] = dataclasses.replace(report, subjects=subjects)
    with pytest.raises(ShipError) as caught:
        ship(**{**inputs, **changed}, out=out, progress=Silent())
    assert list(out.iterdir()) == [], "a refused bundle leaves nothing behind"
    return str(caught.value)


def test_a_bundle_holds_everything_and_names_it(inputs, out):
    bundle = ship(**inputs, out=out, progress=Silent())
    manifest = verify.read(bundle.folder)
    assert bundle.digest == digest.of_file(bundle.folder / "manifest.json")
    assert {name: file.role for name, file in manifest.files.items()} == {
        "README.md": Role.README,
        "emulated.onnx": Role.EMULATED,
        "sbom.cdx.json": Role.SBOM,
        "model.onnx": Role.ONNX,
        "model.onnx.data": Role.ONNX,
        "tensorrt-rtx-sm86-sm89.plan": Role.PLAN,
        "precision.json": Role.PRECISION,
        "attestation/provenance.intoto.json": Role.PROVENANCE,
        "attestation/report.html": Role.REPORT,
        "attestation/report.json": Role.REPORT,
        "attestation/timings.json": Role.TIMINGS,
        "tokenizer/tokenizer.json": Role.TOKENIZER,
        "tokenizer/vocab.txt": Role.TOKENIZER,
    }
    assert verify.verify(bundle.folder).core == bundle.core == manifest.core


def test_the_manifest_says_what_it_rests_on(inputs, out):
    manifest = verify.read(ship(**inputs, out=out, progress=Silent()).folder)
    (plan,) = manifest.plans
    assert (plan.flavour, plan.version, plan.targets) == ("tensorrt-rtx", "1.7.1.116", ("8.6", "8.9"))
    assert (plan.flags, plan.tf32, plan.workspace_mib) == (("STRONGLY_TYPED",), False, 1024)
    assert (plan.kernels, plan.fused_attentions) == (2, 1)
    assert plan.profiles == {"x": ((1, 16), (8, 16), (16, 16))}
    assert manifest.precision.nodes == {"fp16": 1, "fp32": 1}
    assert manifest.weights == records.REAL
    assert manifest.verdict.passed
    assert (manifest.verdict.layers, manifest.verdict.compared) == (2, 2)
    assert manifest.verdict.not_run == ("engine: no GPU on this machine",)
    assert manifest.versions["numpy"]


def test_the_records_in_a_bundle_are_the_artifacts(inputs, out):
    folder = ship(**inputs, out=out, progress=Silent()).folder
    assert serde.loads(PrecisionPlan, (folder / "precision.json").read_bytes()) == inputs["plan"]
    assert serde.loads(ValidationReport, (folder / "attestation" / "report.json").read_bytes()) == inputs["report"]


def test_equal_inputs_give_equal_bytes(inputs, out):
    first, second = out / "a", out / "b"
    first.mkdir()
    second.mkdir()
    digests = {ship(**inputs, out=folder, progress=Silent()).digest for folder in (first, second)}
    assert len(digests) == 1


def test_the_readme_runs_the_first_plan_at_its_best_shape(inputs, out):
    readme = (ship(**inputs, out=out, progress=Silent()).folder / "README.md").read_text()
    assert "pip install 'tensorrt-rtx==1.7.1.116'" in readme
    assert '"x": np.zeros((8, 16), dtype=np.float32),' in readme
    assert 'BytesFromPath("tensorrt-rtx-sm86-sm89.plan")' in readme
    compile(readme.split("```python\n")[1].split("```")[0], "README.md", "exec")


def test_the_tokenizer_comes_from_where_the_spec_names_it(inputs, out, tmp_path):
    other = records.weights(tmp_path / "other", dataclasses.replace(records.REAL, source="pypi:other==1.0"))
    manifest = verify.read(ship(**{**inputs, "tokenizer": other}, out=out, progress=Silent()).folder)
    assert manifest.tokenizer == other.provenance


def test_a_model_without_a_tokenizer_ships_without_one(inputs, out):
    weights = dataclasses.replace(inputs["weights"], tokenizer=None)
    manifest = verify.read(ship(**{**inputs, "weights": weights}, out=out, progress=Silent()).folder)
    assert manifest.tokenizer is None
    assert Role.TOKENIZER not in {file.role for file in manifest.files.values()}


def test_what_did_not_pass_is_refused(inputs, out):
    assert refusal(inputs, out, report=records.failed()) == (
        "tiny: refused to ship\n"
        "  - validation did not pass: proj_out (MatMul in fp16): 12.0 dB\n"
        "  - bad layers: proj_out\n"
        "  hint: report.html shows each layer and its reason"
    )


def test_seeded_weights_are_refused(inputs, out, tmp_path):
    seeded = {
        "weights": records.weights(tmp_path / "weights", records.SEEDED),
        "mixed": records.mixed(tmp_path / "seeded", records.SEEDED),
        "report": records.report(provenance=records.SEEDED),
    }
    assert "- the weights are not the real ones (seeded:0)\n" in refusal(inputs, out, **seeded)


def test_a_verdict_on_other_weights_is_refused(inputs, out):
    other = dataclasses.replace(records.REAL, digest="d" * 64, source="pypi:other==2.0")
    text = refusal(inputs, out, report=records.report(provenance=other))
    assert "- validation ran with other weights (pypi:other==2.0)\n" in text


def test_a_verdict_under_another_policy_is_refused(inputs, out):
    text = refusal(inputs, out, report=records.report(policy="all-fp32"))
    assert "- validation ran under policy 'all-fp32', the plan was made under 'sensitive'\n" in text


def test_a_layer_that_the_report_lacks_is_refused(inputs, out):
    text = refusal(inputs, out, report=records.report(layers=(records.layer("proj"),)))
    assert "- layers missing from the report: norm\n" in text


@pytest.mark.parametrize("elements", [None, 0])
def test_a_report_that_compared_nothing_is_refused(inputs, out, elements):
    stats = None if elements is None else records.stats(elements=elements)
    layers = tuple(records.layer(node, stats=stats, reason="not observed") for node, *_ in records.NODES)
    assert "- no layer was compared\n" in refusal(inputs, out, report=records.report(layers=layers))


def test_a_failed_output_or_task_is_refused_even_if_the_report_says_passed(inputs, out):
    report = records.report(
        outputs=(records.output(passed=False),), tasks=(records.task(passed=False, candidate=math.nan),)
    )
    text = refusal(inputs, out, report=report)
    assert "- outputs out of tolerance: y (emulated)\n" in text
    assert "- task metrics out of tolerance: similarity (emulated)\n" in text


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ((), "x.plan has no delivered-precision checks"),
        (
            (Check(name="built", passed=False, summary="1 wrong", problems=("proj: float, planned half",)),),
            "x.plan, check built: proj: float, planned half",
        ),
    ],
)
def test_a_plan_that_is_not_what_was_planned_is_refused(inputs, out, checks, expected):
    (plan,) = inputs["plans"].plans
    plans = dataclasses.replace(inputs["plans"], plans=(dataclasses.replace(plan, checks=checks),))
    assert f"- {expected}\n" in refusal(inputs, out, plans=plans)


def test_a_plan_file_that_changed_is_refused(inputs, out):
    inputs["plans"].plans[0].path.write_bytes(b"another plan")
    with pytest.raises(ShipError, match=r"x\.plan is not the plan that was built"):
        ship(**inputs, out=out, progress=Silent())
