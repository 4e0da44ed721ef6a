from pipeline.core.artifacts import Provenance
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import BuildSpec
from pipeline.graph import io
from pipeline.stages.probe import probe
from tests import encoder

REAL = Provenance(source="test", digest="0" * 64, licence="CC0-1.0", real=True)


def run(tmp_path, spec, low=Format.FP16):
    folder, out = tmp_path / "model", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    model = encoder.fp32()
    reference = io.describe(model, io.save(model, folder), provenance=REAL)
    return probe(reference, encoder.INPUTS, encoder.AXES, spec, low, out=out, progress=Silent()), out


def test_the_all_low_plan_is_read_and_only_its_log_is_kept(tmp_path):
    baseline, out = run(tmp_path, BuildSpec(workspace_mib=64))
    assert (baseline.attentions, baseline.target, baseline.reason) == (1, "8.9", None)
    assert baseline.plan is not None
    assert baseline.plan.fused_attentions == 1
    assert [path.name for path in out.iterdir()] == ["probe.log"]


def test_a_target_that_cannot_have_the_format_gives_the_reason(tmp_path):
    baseline, _ = run(tmp_path, BuildSpec(targets=("7.5",), workspace_mib=64), Format.BF16)
    assert (baseline.attentions, baseline.target, baseline.plan) == (1, "7.5", None)
    assert baseline.reason is not None
    assert baseline.reason.startswith("TensorRT-RTX refuses the all-bf16 graph: ")


def test_plans_for_the_gpu_at_hand_cannot_be_probed(tmp_path):
    baseline, _ = run(tmp_path, BuildSpec(targets=("gpu",)))
    assert baseline.reason == "target 'gpu' is built by TensorRT, whose plans hold no readable text"
