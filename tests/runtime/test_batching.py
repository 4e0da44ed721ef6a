import numpy as np

from pipeline.core.errors import InputError
from pipeline.runtime import load
from pipeline.runtime.batching import run_together
from tests import encoder


def request(batch, sequence, seed):
    random = np.random.default_rng(seed)
    return {
        "x": random.normal(size=(batch, sequence, encoder.WIDTH)).astype(np.float32),
        "mask": np.zeros((batch, 1, 1, sequence), np.float32),
    }


def test_requests_get_what_they_would_get_alone_in_their_order(bundle):
    requests = [request(1, 8, 0), request(2, 16, 1), request(2, 8, 2), request(1, 8, 3)]
    with load(bundle, backend="emulated") as engine:
        alone = [engine.run(item)["y"] for item in requests]
        for batched in (True, False):
            together = run_together(engine, requests, batched=batched)
            for one, other in zip(alone, together, strict=True):
                np.testing.assert_allclose(one, other["y"], atol=2e-3)


def test_a_request_that_is_wrong_fails_with_those_of_its_batch_alone(bundle):
    requests = [request(1, 8, 0), request(1, 64, 1)]
    with load(bundle, backend="emulated") as engine:
        good, bad = run_together(engine, requests, batched=True)
    assert good["y"].shape == (1, 8, encoder.WIDTH)
    assert isinstance(bad, InputError)
    assert "x is 64 at axis sequence" in str(bad)
