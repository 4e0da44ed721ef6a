import pytest

from pipeline.core import digest
from pipeline.core.artifacts import FusionBaseline, Provenance
from pipeline.core.errors import BackendUnavailable, BuildError
from pipeline.core.spec import BuildSpec
from pipeline.graph import io
from pipeline.stages.build import build
from tests import encoder

REAL = Provenance(source="test", digest="0" * 64, licence="CC0-1.0", real=True)
NO_BASELINE = FusionBaseline(attentions=1, reason="not asked for")


class Heard:
    """A listener that keeps what it is told."""

    def __init__(self):
        self.phases, self.notes, self.warnings = [], [], []

    def advance(self, what, done, total=None):
        self.phases.append((what, done, total))

    def note(self, text):
        self.notes.append(text)

    def warn(self, text):
        self.warnings.append(text)


def saved(folder, model):
    folder.mkdir(exist_ok=True)
    return io.describe(model, io.save(model, folder), provenance=REAL)


def run(tmp_path, spec, model=None, plan=None, name="out"):
    out = tmp_path / name
    out.mkdir()
    heard = Heard()
    plans = build(
        saved(tmp_path / "model", model or encoder.mixed()),
        plan or encoder.plan(),
        NO_BASELINE,
        encoder.INPUTS,
        encoder.AXES,
        spec,
        out=out,
        progress=heard,
    )
    return plans.plans, heard


def test_one_plan_for_the_default_targets_with_everything_recorded(tmp_path):
    (plan,), heard = run(tmp_path, BuildSpec(workspace_mib=64))
    assert plan.path.name == "8.6-8.9-12.0.plan"
    assert (plan.flavour, plan.targets) == ("tensorrt-rtx", ("8.6", "8.9", "12.0"))
    assert plan.text is not None
    assert (plan.version, plan.targets) == (plan.text.version, plan.text.targets)
    assert (plan.digest, plan.size) == (digest.of_file(plan.path), plan.path.stat().st_size)
    assert (plan.tf32, plan.workspace_mib) == (False, 64)
    assert plan.flags == (
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED",
        "OnnxParserFlag.NATIVE_INSTANCENORM",
        "ProfilingVerbosity.DETAILED",
    )
    assert plan.profiles == {
        "x": ((1, 8, 64), (2, 16, 64), (4, 32, 64)),
        "mask": ((1, 1, 1, 8), (2, 1, 1, 16), (4, 1, 1, 32)),
    }
    assert [(check.name, check.passed) for check in plan.checks] == [
        ("parsed", True),
        ("built", True),
        ("fusion", True),
    ]
    assert (heard.phases[0][1], heard.phases[-1][1]) == (0, heard.phases[-1][2])
    assert heard.warnings == []


def test_tensorrts_log_lies_beside_the_plan(tmp_path):
    (plan,), _ = run(tmp_path, BuildSpec(targets=("8.9",), workspace_mib=64))
    log = plan.log.read_text()
    assert plan.log.parent == plan.path.parent
    assert "[INFO] Engine generation completed in" in log


def test_tf32_is_set_only_where_it_was_asked_for(tmp_path):
    (plan,), _ = run(tmp_path, BuildSpec(targets=("8.9",), workspace_mib=64, tf32=True))
    assert plan.flags[0] == "BuilderFlag.TF32"
    assert plan.tf32


def test_a_target_that_a_type_forbids_is_named_and_the_others_are_not_lost_sight_of(tmp_path):
    with pytest.raises(BuildError) as caught:
        run(tmp_path, BuildSpec(targets=("7.5", "8.9"), workspace_mib=64), encoder.fp32())
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/model/model.onnx: no plan for target 7.5; 8.9 can be built\n    7.5: ")
    assert message.endswith(
        "\n  hint: 7.5 has neither bf16 nor an fp32 MatMul in TensorRT-RTX: remove it from build.targets, "
        "or use a policy without them"
    )


def test_an_only_target_that_a_type_forbids_is_named(tmp_path):
    with pytest.raises(BuildError, match=r"no plan for target 7\.5\n    7\.5: "):
        run(tmp_path, BuildSpec(targets=("7.5",), workspace_mib=64), encoder.fp32())


def test_the_gpu_target_without_a_gpu_says_what_to_name_instead(tmp_path, request):
    from pipeline.core import device

    reason = device.probe().reason
    if reason is None:
        pytest.skip("this machine has a GPU")
    with pytest.raises(BackendUnavailable) as caught:
        run(tmp_path, BuildSpec(targets=("gpu",)))
    assert str(caught.value) == (
        f"build.targets: target 'gpu' needs an NVIDIA GPU: {reason}\n"
        '  hint: name compute capabilities instead, such as "8.9": TensorRT-RTX builds for them without a GPU'
    )


def test_a_plan_that_was_not_delivered_is_warned_of_and_recorded(tmp_path):
    text = encoder.MIXED.replace('"sm::fp32" = Cast<to = 1>', '"sm::fp32" = Cast<to = 10>')
    (plan,), heard = run(tmp_path, BuildSpec(targets=("8.9",), workspace_mib=64), encoder.mixed(text))
    assert (plan.checks[0].name, plan.checks[0].passed) == ("parsed", False)
    (warning,) = heard.warnings
    assert warning.startswith("8.9.plan: parsed: 19 planned nodes compared with ")
    assert warning.endswith("first: softmax (Softmax): p::raw is half, planned float")
