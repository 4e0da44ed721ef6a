"""Measured costs as far as a machine without a GPU goes: what is asked for, built, fed, remembered and refused."""

import dataclasses
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from pipeline.analysis.gpu import stopwatch
from pipeline.analysis.gpu.gpu_views import built
from pipeline.analysis.gpu.stopwatch import Bench, Stopwatch
from pipeline.analysis.search.choice import Tried
from pipeline.analysis.search.latencies import Latencies
from pipeline.analysis.search.memory import Memory
from pipeline.analysis.verdict.judge import Answer
from pipeline.backends import plan_text
from pipeline.backends.tensorrt import flavour, timing
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.core import device
from pipeline.core.device import Gpu
from pipeline.core.errors import BackendUnavailable, BuildError
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import BuildSpec
from pipeline.graph import io
from pipeline.precision.costing.cost import Cost, Measurement
from pipeline.precision.policy.policies import uniform
from tests import encoder, records

GPU = Gpu(name="NVIDIA Test", capability="8.9", memory_bytes=0)
BENCH = Bench(gpu=GPU, driver="580.1", flavour=Flavour.RTX, version=str(flavour.version(Flavour.RTX)))
WITHOUT_GPU = pytest.mark.skipif(bool(device.probe().gpus), reason="this machine has a GPU")


@pytest.fixture
def watch(tmp_path):
    batch = tmp_path / "batch.npz"
    np.savez(batch, x=encoder.random((3, 5, encoder.WIDTH)), mask=np.zeros((3, 1, 1, 5), np.float32))
    model = encoder.fp32()
    (tmp_path / "model").mkdir()
    return Stopwatch(
        bench=BENCH,
        reference=io.describe(model, io.save(model, tmp_path / "model"), provenance=records.REAL),
        build=BuildSpec(workspace_mib=64),
        inputs=encoder.INPUTS,
        axes=encoder.AXES,
        batch=batch,
        folder=tmp_path / "kept",
        progress=Silent(),
    )


def low(watch):
    return uniform(io.load(watch.reference.path), Format.FP16)


def test_a_plan_is_written_and_built_for_this_gpu_alone(watch, tmp_path):
    request = watch.request(low(watch), tmp_path)
    assert (request.flavour, request.targets, request.workspace_mib) == (Flavour.RTX, ("8.9",), 64)
    built(request, Silent())
    text = plan_text.read(request.plan)
    assert text.targets == ("8.9",)
    assert text.fused_attentions == 1


@WITHOUT_GPU
def test_without_a_gpu_the_built_plan_is_refused_where_it_would_be_timed(watch):
    with pytest.raises(BackendUnavailable, match="timing a plan needs a GPU"):
        watch(low(watch))


def test_api_use_only_the_tensorrt_path_with_tensorrt_rtx_in_its_place(watch, tmp_path):
    """Proves that the request is one that TensorRT's builder takes; it proves nothing of libnvinfer."""
    tensorrt = dataclasses.replace(watch, bench=dataclasses.replace(BENCH, flavour=Flavour.TENSORRT, version="11.4"))
    request = tensorrt.request(low(watch), tmp_path)
    assert (request.targets, request.timing_cache) == ((), tmp_path / "kept" / f"timing-{tensorrt.key}.cache")
    (tmp_path / "kept").mkdir()
    code = f"""
        import sys, tensorrt_rtx
        tensorrt_rtx.__version__ = "11.4.0.0"  # Polygraphy picks its calls by it
        sys.modules["tensorrt"] = tensorrt_rtx
        from pathlib import PosixPath
        from pipeline.backends.tensorrt import builder, logger
        from pipeline.backends.tensorrt.flavour import Flavour
        from pipeline.backends.tensorrt.records import BuildRequest
        request = {request!r}
        print(builder.build(request, logger.BuildLog(stream=sys.stderr), lambda *phase: None).built)
    """.replace(repr(Flavour.TENSORRT), "Flavour.TENSORRT")
    command = [sys.executable, "-c", textwrap.dedent(code)]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.stdout.strip().endswith("True"), result.stderr
    assert plan_text.read(request.plan).fused_attentions == 1
    assert request.timing_cache.exists()


def test_inputs_are_a_batch_at_the_optimum_of_every_axis(watch):
    with np.load(watch.batch) as file:
        given = file["x"]
    feeds = watch.feeds()
    batch, sequence = (encoder.AXES[name].opt for name in ("batch", "sequence"))
    assert feeds["x"].shape == (batch, sequence, encoder.WIDTH)
    assert feeds["mask"].shape == (batch, 1, 1, sequence)
    assert feeds["x"].dtype == np.float32
    assert np.array_equal(feeds["x"][0, 5], given[0, 0])
    assert np.array_equal(feeds["x"][0, :5], given[0])


@pytest.mark.parametrize(
    "changed",
    [
        {"bench": dataclasses.replace(BENCH, driver="581.0")},
        {"bench": dataclasses.replace(BENCH, version="1.8")},
        {"bench": dataclasses.replace(BENCH, gpu=dataclasses.replace(GPU, name="NVIDIA Other"))},
        {"build": BuildSpec(workspace_mib=64, tf32=True)},
        {"axes": {**encoder.AXES, "batch": dataclasses.replace(encoder.AXES["batch"], opt=1)}},
    ],
)
def test_latencies_of_another_gpu_driver_version_or_setting_are_not_taken_for_these(watch, changed):
    assert dataclasses.replace(watch, **changed).key != watch.key
    assert dataclasses.replace(watch, folder=Path("elsewhere")).key == watch.key


@WITHOUT_GPU
@pytest.mark.parametrize("targets", [("8.9",), ("gpu",)])
def test_without_a_gpu_measuring_says_what_where_and_what_to_do(targets):
    with pytest.raises(BackendUnavailable) as error:
        stopwatch.bench(BuildSpec(targets=targets))
    assert str(error.value) == (
        f"precision.search.cost: to measure what plans cost needs an NVIDIA GPU: {device.probe().reason}\n"
        '  hint: run it on the machine with the GPU, or let costs be counted: cost = "counted", the default'
    )


def test_single_runs_are_summed_up_by_their_quartiles():
    found = timing.summary([*range(1, 101)])
    assert (found.median_ms, found.spread_ms, found.runs) == (50.5, 49.5, 100)


class Table:
    """Latencies by the number of low nodes; counts how often it is asked."""

    def __init__(self, refused=()):
        self.asked, self.refused = 0, refused

    def __call__(self, plan):
        self.asked += 1
        nodes = sum(item.operands is Format.FP16 for item in plan)
        if nodes in self.refused:
            raise BuildError(f"TensorRT refuses {nodes} nodes")
        return Measurement(latency_ms=1.0 + nodes, spread_ms=0.5)


def latencies(table, folder):
    return Latencies(where="a GPU", measure=table, memory=Memory(Measurement, folder / "latencies.jsonl"))


def test_a_plan_is_measured_once_for_all_runs(watch, tmp_path):
    plans = [low(watch), uniform(io.load(watch.reference.path), Format.FP32)]
    table = Table()
    first = [latencies(table, tmp_path)(plan) for plan in plans]
    assert table.asked == 2
    with (tmp_path / "latencies.jsonl").open("a") as stream:
        stream.write('["half a li\n["another", {"latency_ms": -1, "spread_ms": 0}]\n')
    assert [latencies(table, tmp_path)(plan) for plan in plans] == first
    assert table.asked == 2


def tried(name):
    return Tried(wide=frozenset(name), label=name, answer=Answer(passed=True, reason=""), cost=Cost(counted=7.0))


def test_a_plan_that_tensorrt_refuses_is_left_out_and_where_all_are_its_error_is_raised(watch, tmp_path):
    plans = {"low": low(watch), "wide": uniform(io.load(watch.reference.path), Format.FP32)}
    asked = [tried(name) for name in plans]
    found = latencies(Table(refused=(0,)), tmp_path).priced(asked, lambda item: plans[item.label], Silent())
    assert [(item.label, item.cost.unit, item.cost.counted) for item in found] == [("low", "ms", 7.0)]
    everything = range(1000)
    with pytest.raises(BuildError, match="TensorRT refuses 0 nodes"):
        latencies(Table(refused=everything), tmp_path / "b").priced(asked, lambda item: plans[item.label], Silent())
