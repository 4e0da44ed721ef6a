import dataclasses
import json
import math
import pickle

import numpy as np
import onnx
import pytest
import tokenizers

from pipeline.backends.onnxruntime import Session
from pipeline.backends.tensorrt.builder import DEBUG_MARKS
from pipeline.bundle import verify
from pipeline.bundle.manifest import Role, core_files
from pipeline.core import digest, serde
from pipeline.core.artifacts import Check, Overrides, PrecisionPlan, ValidationReport
from pipeline.core.errors import ShipError
from pipeline.core.progress import Silent
from pipeline.graph import io
from pipeline.precision.emulation.emulate import emulate
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


def test_a_tokenizer_in_another_form_ships_as_one_that_a_bundle_is_read_by(inputs, out, tmp_path):
    folder = tmp_path / "vocabulary"
    folder.mkdir()
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    (folder / "tokenizer.pkl").write_text("a pickle")
    other = dataclasses.replace(inputs["weights"], tokenizer=folder)
    folder = ship(**{**inputs, "tokenizer": other}, out=out, progress=Silent()).folder
    found = [name for name, file in verify.read(folder).files.items() if file.role is Role.TOKENIZER]
    assert found == [f"tokenizer/{name}" for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt")]
    read = tokenizers.Tokenizer.from_file(str(folder / "tokenizer" / "tokenizer.json"))
    assert read.encode("a").ids == [2, 5, 3]


def test_a_tokenizer_that_cannot_be_read_is_left_out_with_a_warning(inputs, out, tmp_path):
    folder = tmp_path / "pickle"
    folder.mkdir()
    (folder / "tokenizer.pkl").write_bytes(pickle.dumps({"plain": "data"}))
    heard = Heard()
    other = dataclasses.replace(inputs["weights"], tokenizer=folder)
    manifest = verify.read(ship(**{**inputs, "tokenizer": other}, out=out, progress=heard).folder)
    assert manifest.tokenizer is None
    assert "tokenizer" not in manifest.licences
    assert heard.warnings == [
        "the bundle will take arrays and no text: "
        "tokenizer.pkl: not a tiktoken encoding with <|reserved_0|> and <|reserved_1|>"
    ]


class Heard(Silent):
    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


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


def test_a_node_that_rescaling_added_is_no_layer_of_the_fp32_model(inputs, out):
    partial = records.report(layers=(records.layer("proj"),), added={"norm": "restored by 2^1"})
    report = dataclasses.replace(partial, subjects=inputs["report"].subjects)
    assert ship(**{**inputs, "report": report}, out=out, progress=Silent()).folder.is_dir()


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


def test_a_verdict_on_another_graph_or_plan_is_refused(inputs, out):
    subjects = {**inputs["report"].subjects, "mixed": "0" * 64, "x.plan": "0" * 64}
    text = refusal(inputs, out, subjects=subjects)
    assert "- validation ran on another mixed graph\n  - validation ran on another x.plan\n" in text


def test_a_plan_with_debug_marks_is_refused(inputs, out):
    (plan,) = inputs["plans"].plans
    marked = dataclasses.replace(plan, flags=(*plan.flags, DEBUG_MARKS))
    plans = dataclasses.replace(inputs["plans"], plans=(marked,))
    assert refusal(inputs, out, plans=plans, overrides=Overrides(unvalidated=True, unlicensed=True)) == (
        "tiny: refused to ship\n"
        "  - x.plan hands out its inner tensors: build.debug_tensors is on\n"
        "  hint: set build.debug_tensors to false in engine.toml, which makes another plan"
    )


@pytest.mark.parametrize("licence", ["", "NOASSERTION", "none"])
def test_weights_without_a_licence_ship_only_when_told(inputs, out, tmp_path, licence):
    unknown = dataclasses.replace(records.REAL, licence=licence)
    inputs["weights"] = records.weights(tmp_path / "weights", unknown)
    line = "nobody stated a licence of the weights (pypi:tiny==1.0)"
    assert refusal(inputs, out, weights=inputs["weights"]) == (
        f"tiny: refused to ship\n  - {line}\n"
        "  hint: state `licence` in engine.toml, or give --allow-unlicensed if you may ship them all the same"
    )
    inputs["report"] = dataclasses.replace(inputs["report"], provenance=unknown)
    inputs["rendered"].json.write_text(serde.dumps(inputs["report"]))
    bundle = ship(**{**inputs, "overrides": Overrides(unlicensed=True)}, out=out, progress=Silent())
    assert verify.verify(bundle.folder).unvalidated == (line,)


def test_what_was_forced_is_said_by_manifest_readme_and_verify(inputs, out):
    report = dataclasses.replace(records.failed(), subjects=inputs["report"].subjects)
    inputs["rendered"].json.write_text(serde.dumps(report))
    forced = {**inputs, "report": report, "overrides": Overrides(unvalidated=True)}
    folder = ship(**forced, out=out, progress=Silent()).folder
    expected = ("validation did not pass: proj_out (MatMul in fp16): 12.0 dB", "bad layers: proj_out")
    found = verify.verify(folder)
    assert found.unvalidated == verify.read(folder).verdict.overridden == expected
    assert f"shipped although: {expected[0]}" in found.warnings
    readme = (folder / "README.md").read_text()
    assert "**NOT VALIDATED**" in readme
    assert f"- shipped although: {expected[1]}\n" in readme


def test_weights_that_are_not_real_cannot_be_forced(inputs, out, tmp_path):
    inputs["weights"] = records.weights(tmp_path / "seeded", records.SEEDED)
    text = refusal(inputs, out, weights=inputs["weights"], overrides=Overrides(unvalidated=True, unlicensed=True))
    assert text.endswith("hint: run with WEIGHTS=pretrained, and ship what was made from that")


def test_the_emulation_shares_the_weights_and_is_the_one_that_was_validated(inputs, out):
    folder = ship(**inputs, out=out, progress=Silent()).folder
    weights = (folder / "model.onnx.data").stat().st_size
    shipped = onnx.load(folder / "emulated.onnx", load_external_data=False)
    assert [item.external_data[0].value for item in shipped.graph.initializer if item.external_data] == [
        "model.onnx.data"
    ]
    assert weights == 512
    x = np.random.default_rng(0).standard_normal((3, 16)).astype(np.float32)
    validated = Session(emulate(io.load(inputs["mixed"].path)), as_written=True)({"x": x})
    np.testing.assert_array_equal(Session(folder / "emulated.onnx")({"x": x})["y"], validated["y"])


def test_the_core_does_not_depend_on_what_was_measured(inputs, out):
    (plan,) = inputs["plans"].plans
    slower = dataclasses.replace(inputs["plans"], plans=(dataclasses.replace(plan, seconds=9.0),))
    other = dataclasses.replace(inputs["invocation"], commit=None, spec="0" * 64)
    folders = [out / "a", out / "b"]
    made = []
    for folder, changed in zip(folders, ({}, {"plans": slower, "invocation": other}), strict=True):
        folder.mkdir()
        made.append(ship(**{**inputs, **changed}, out=folder, progress=Silent()))
    assert made[0].digest != made[1].digest
    assert made[0].core == made[1].core
    for name in core_files(verify.read(made[0].folder).files):
        assert (made[0].folder / name).read_bytes() == (made[1].folder / name).read_bytes()


def test_a_timing_cache_is_kept_and_its_digest_recorded(inputs, out, tmp_path):
    (plan,) = inputs["plans"].plans
    cache = tmp_path / "timing.cache"
    cache.write_bytes(b"tactics")
    plans = dataclasses.replace(inputs["plans"], plans=(dataclasses.replace(plan, timing_cache=cache),))
    folder = ship(**{**inputs, "plans": plans}, out=out, progress=Silent()).folder
    (timing,) = json.loads((folder / "attestation" / "timings.json").read_text()).values()
    assert timing == {"build_seconds": 2.5, "timing_cache_sha256": digest.of_bytes(b"tactics")}
    assert (folder / "attestation" / "timing.cache").read_bytes() == b"tactics"


def test_the_provenance_names_where_everything_came_from(inputs, out):
    folder = ship(**inputs, out=out, progress=Silent()).folder
    statement = json.loads((folder / "attestation" / "provenance.intoto.json").read_text())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    named = {item["name"]: item for item in statement["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert named["engines/tiny/engine.toml"]["digest"] == {"sha256": "e" * 64}
    assert named["trt-pipeline clone"]["digest"] == {"gitCommit": "f" * 40}
    assert named["weights"]["uri"] == "pypi:tiny==1.0"
    assert {item["name"] for item in statement["subject"]} == set(core_files(verify.read(folder).files))
