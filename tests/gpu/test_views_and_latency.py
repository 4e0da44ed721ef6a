import numpy as np
import pytest

from pipeline.analysis.gpu import gpu_views, stopwatch
from pipeline.analysis.gpu.stopwatch import Stopwatch
from pipeline.backends.onnxruntime import Session
from pipeline.backends.tensorrt import timing
from pipeline.backends.tensorrt.engine import Engine
from pipeline.core import digest
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import BuildSpec
from pipeline.graph import io
from pipeline.precision.policy.policies import uniform
from tests import encoder, records

pytestmark = pytest.mark.gpu


def feeds(batch=2, length=16):
    x = np.random.default_rng(1).normal(0, 1, (batch, length, encoder.WIDTH)).astype(np.float32)
    return {"x": x, "mask": np.zeros((batch, 1, 1, length), np.float32)}


def engine(asked):
    return Engine(asked.plan, sha256=digest.of_file(asked.plan), flavour=asked.flavour)


def test_the_tapped_engine_hands_out_every_layer(build):
    expected = gpu_views.every_tensor(encoder.fp32(), feeds())
    with engine(build(gpu_views.tapped(encoder.mixed()))) as tapped, engine(build(encoder.mixed())) as shipped:
        found = list(gpu_views.side_by_side(expected, shipped.tensors(feeds()), tapped(feeds()), (), {}, 40.0))
    assert {view.tensor for view in found} == set(expected)
    assert all(view.tapped.sqnr_db >= 40 for view in found)
    output = found[-1]
    assert (output.tensor, output.fusion_changes) == ("y", False)


def test_debug_tensors_come_beside_the_outputs_and_change_none(build):
    with engine(build(encoder.mixed(), debug_tensors=True)) as marked, engine(build(encoder.mixed())) as plain:
        assert set(marked(feeds())) == set(plain(feeds())) == {"y"}
        assert set(marked.tensors(feeds())) >= {"y"}
        expected = Session(encoder.fp32())(feeds())["y"]
        assert np.abs(marked(feeds())["y"] - expected).max() <= 2e-2


def test_a_plan_is_converted_built_and_timed_at_the_optimum(gpu, tmp_path):
    batch = tmp_path / "batch.npz"
    np.savez(batch, **feeds())
    model = encoder.fp32()
    watch = Stopwatch(
        bench=stopwatch.bench(BuildSpec()),
        reference=io.describe(model, io.save(model, tmp_path), provenance=records.REAL),
        build=BuildSpec(),
        inputs=encoder.INPUTS,
        axes=encoder.AXES,
        batch=batch,
        folder=tmp_path,
        progress=Silent(),
    )
    assert gpu.name in str(watch.bench)
    found = watch(uniform(model, Format.FP16))
    assert 0 < found.latency_ms < 1000
    assert 0 <= found.spread_ms < found.latency_ms


@pytest.mark.parametrize("graphs", [False, True])
def test_a_plan_is_timed_with_and_without_cuda_graphs(build, graphs):
    asked = build(encoder.mixed())
    found = timing.measure(
        asked.plan,
        sha256=digest.of_file(asked.plan),
        flavour=asked.flavour,
        feeds=feeds(),
        graphs=graphs,
        warm_up=10,
        runs=50,
    )
    assert 0 < found.median_ms <= found.p99_ms < 1000
    assert found.runs == 50
