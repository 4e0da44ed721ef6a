"""The two views of a plan, as far as a machine without a GPU goes: what is built, and what is made of arrays."""

import numpy as np
import pytest

from pipeline.analysis.gpu import gpu_views
from pipeline.backends import plan_text
from pipeline.backends.tensorrt import process, profiles, timing
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import BuildRequest
from pipeline.core import device
from pipeline.core.artifacts import EnginePlan, EnginePlans, Fate
from pipeline.core.device import Gpu
from pipeline.core.errors import BackendUnavailable
from pipeline.core.progress import Silent
from pipeline.graph import io
from tests import encoder

GPU = Gpu(name="NVIDIA Test", capability="8.9", memory_bytes=0)
ONES = np.ones((2, 3), np.float32)


def plan(folder, **more):
    given = {
        "path": folder / "a.plan",
        "log": folder / "log",
        "flavour": "tensorrt-rtx",
        "version": "1.7",
        "targets": ("8.6", "8.9"),
        "digest": "0" * 64,
        "size": 1,
        "flags": (),
        "tf32": False,
        "workspace_mib": 64,
        "profiles": profiles.of_inputs(encoder.INPUTS, encoder.AXES),
        "text": None,
        "checks": (),
        "warnings": (),
        "seconds": 0.0,
    }
    return EnginePlan(**{**given, **more})


def views(expected, shipped, marked, fates=(), floors=None):
    return list(gpu_views.side_by_side(expected, shipped, marked, fates, floors or {}, 40.0))


def test_the_tapped_graph_hands_out_every_float_tensor_once():
    model = gpu_views.tapped(encoder.mixed())
    names = [value.name for value in model.graph.outputs]
    floats = [v.name for node in model.graph for v in node.outputs if v.dtype in gpu_views.TAPPED]
    assert sorted(names) == sorted(floats)
    assert names[0] == "y", "the graph's own outputs stay first"


def test_tensorrt_rtx_builds_the_tapped_graph_for_another_machine(tmp_path):
    onnx = io.save(gpu_views.tapped(encoder.mixed()), tmp_path)
    request = gpu_views.like(plan(tmp_path), GPU, onnx, tmp_path / "tapped.plan")
    assert (request.targets, request.workspace_mib) == (("8.9",), 64)
    gpu_views.built(request, Silent())
    assert plan_text.read(request.plan).fused_attentions == 0, "marked outputs cannot be fused away"


def test_debug_tensors_keep_the_fused_attention(tmp_path):
    found = {}
    for marked in (False, True):
        request = BuildRequest(
            onnx=io.save(encoder.mixed(), tmp_path),
            plan=tmp_path / f"{marked}.plan",
            flavour=Flavour.RTX,
            targets=("8.9",),
            workspace_mib=64,
            tf32=False,
            profiles=profiles.of_inputs(encoder.INPUTS, encoder.AXES),
            debug_tensors=marked,
        )
        answer = process.build(request, tmp_path / "log", Silent())
        assert answer.built, answer.errors
        found[marked] = plan_text.read(request.plan)
    assert found[True].fused_attentions == found[False].fused_attentions == 1
    assert (tmp_path / "True.plan").read_bytes() != (tmp_path / "False.plan").read_bytes()


def test_a_tensor_that_only_one_engine_hands_out_has_one_figure():
    (view,) = views({"a": ONES, "b": ONES}, {}, {"a": ONES})
    assert (view.tensor, view.engine, view.apart_db, view.fusion_changes) == ("a", None, None, False)
    assert view.tapped.max_abs == 0.0


@pytest.mark.parametrize(("step", "changes"), [(0.0, False), (1e-3, False), (0.1, True), (np.nan, True)])
def test_engines_further_apart_than_roundings_explain_disagree(step, changes):
    (view,) = views({"a": ONES}, {"a": ONES}, {"a": ONES + np.float32(step)})
    assert view.fusion_changes is changes


def test_a_tensors_own_floor_decides():
    apart = {"shipped": {"a": ONES}, "marked": {"a": ONES + np.float32(1e-3)}}
    assert not views({"a": ONES}, **apart)[0].fusion_changes
    assert views({"a": ONES}, **apart, floors={"a": 80.0})[0].fusion_changes


def test_rescaled_and_turned_tensors_are_brought_back():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    there = np.ldexp(array.T, np.array([[1], [2], [3]]) - 4)
    fate = Fate(tensor="a", now="b", exponent=-4, exponents=(1, 2, 3), axis=-2, layout=(1, 0))
    (view,) = views({"a": array}, {"b": there}, {"b": there}, (fate,))
    assert view.engine.max_abs == view.tapped.max_abs == 0.0


def test_every_tensor_of_the_reference_comes_out():
    x = np.zeros((1, 8, encoder.WIDTH), np.float32)
    found = gpu_views.every_tensor(encoder.fp32(), {"x": x, "mask": np.zeros((1, 1, 1, 8), np.float32)})
    assert next(iter(found)) == "q"
    assert list(found)[-1] == "y"


@pytest.mark.skipif(bool(device.probe().gpus), reason="this machine has a GPU")
def test_timing_without_a_gpu_says_so_before_anything_is_loaded(tmp_path):
    with pytest.raises(BackendUnavailable) as error:
        timing.measure(tmp_path / "a.plan", sha256="0", flavour=Flavour.RTX, feeds={}, graphs=False)
    assert str(error.value) == f"{tmp_path / 'a.plan'}: timing a plan needs a GPU: {device.probe().reason}"


def test_no_plan_for_a_gpu_is_said_in_words(tmp_path):
    from pipeline.analysis.gpu import gpu_plan

    found = gpu_plan.find(EnginePlans(plans=(plan(tmp_path, targets=("5.0",)),)))
    expected = device.probe().reason or "plans were built for 5.0"
    assert isinstance(found, str)
    assert found.endswith(expected)
