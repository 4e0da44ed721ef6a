import numpy as np
import pytest

from pipeline.backends.onnxruntime import Session
from pipeline.backends.tensorrt import flavour, process, profiles
from pipeline.backends.tensorrt.engine import Engine
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import BuildRequest
from pipeline.core import digest
from pipeline.core.errors import StoreError
from pipeline.core.progress import Silent
from pipeline.graph import io
from tests import encoder

pytestmark = pytest.mark.gpu

NAMED = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")


@pytest.fixture(scope="module", params=list(Flavour))
def built(request, gpu, tmp_path_factory):
    """A plan of the mixed encoder that this machine's GPU can run, by each flavour that can make one here."""
    kind = request.param
    if flavour.version(kind) is None:
        pytest.skip(f"{kind} is not installed")
    if kind is Flavour.RTX and gpu.capability not in NAMED:
        pytest.skip(f"tensorrt-rtx has no target {gpu.capability}")
    folder = tmp_path_factory.mktemp(kind.module)
    asked = BuildRequest(
        onnx=io.save(encoder.mixed(), folder),
        plan=folder / "a.plan",
        flavour=kind,
        targets=(gpu.capability,) if kind is Flavour.RTX else (),
        workspace_mib=256,
        tf32=False,
        profiles=profiles.of_inputs(encoder.INPUTS, encoder.AXES),
        timing_cache=None if kind is Flavour.RTX else folder / "timing.cache",
    )
    answer = process.build(asked, folder / "log", Silent())
    assert answer.built, answer.errors
    return asked


def feeds(batch, length):
    random = np.random.default_rng(1)
    x = random.normal(0, 1, (batch, length, encoder.WIDTH)).astype(np.float32)
    return {"x": x, "mask": np.zeros((batch, 1, 1, length), np.float32)}


@pytest.mark.parametrize(("batch", "length"), [(1, 8), (2, 16), (4, 32)])
def test_the_engine_computes_what_the_fp32_graph_does(built, batch, length):
    given = feeds(batch, length)
    expected = Session(encoder.fp32())(given)["y"]
    with Engine(built.plan, sha256=digest.of_file(built.plan), flavour=built.flavour) as engine:
        found = engine(given)["y"]
    assert found.shape == expected.shape
    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() <= 2e-2


def test_a_plan_that_is_not_the_recorded_one_is_not_deserialised(built):
    with pytest.raises(StoreError, match="it is not deserialised"):
        Engine(built.plan, sha256="0" * 64, flavour=built.flavour)
