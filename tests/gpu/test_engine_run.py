import numpy as np
import pytest

from pipeline.backends.onnxruntime import Session
from pipeline.backends.tensorrt.engine import Engine
from pipeline.core import digest
from pipeline.core.errors import StoreError
from tests import encoder

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def built(build):
    """A plan of the mixed encoder."""
    return build(encoder.mixed())


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
