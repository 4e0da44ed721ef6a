import threading

import numpy as np
import pytest

from pipeline.backends.tensorrt import flavour
from pipeline.runtime import Place, load
from pipeline.runtime.dlpack import DeviceType
from tests import bundles, encoder

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def shipped(build, gpu, tmp_path_factory):
    """A bundle whose plan this machine's GPU runs."""
    pytest.importorskip("cuda.bindings.runtime")
    built = build(encoder.mixed())
    folder = tmp_path_factory.mktemp("shipped") / "bundle"
    version = flavour.version(built.flavour).partition(".post")[0]
    row = bundles.plan("a.plan", flavour=str(built.flavour), version=version, targets=(gpu.capability,))
    record = bundles.write(folder, row)
    (folder / "a.plan").write_bytes(built.plan.read_bytes())
    bundles.seal(folder, record)
    return folder


def feeds(batch, sequence, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(0, 1, (batch, sequence, encoder.WIDTH)).astype(np.float32)
    return {"x": x, "mask": np.zeros((batch, 1, 1, sequence), np.float32)}


def test_the_engine_agrees_with_its_emulation_for_shapes_that_repeat_and_change(shipped):
    with load(shipped) as engine, load(shipped, backend="emulated") as emulated:
        assert engine.note is None
        for batch, sequence in ((2, 16), (2, 16), (2, 16), (4, 32), (1, 8), (1, 8), (1, 8), (2, 16)):
            given = feeds(batch, sequence, seed=batch)
            found = engine(**given)["y"]
            assert found.shape == (batch, sequence, encoder.WIDTH)
            assert np.abs(found - emulated(**given)["y"]).max() <= 2e-2


def test_threads_share_an_engine(shipped):
    found = {}
    with load(shipped, streams=2) as engine:
        expected = {seed: engine(**feeds(1 + seed % 4, 8, seed))["y"] for seed in range(8)}

        def work(seed):
            found[seed] = engine(**feeds(1 + seed % 4, 8, seed))["y"]

        threads = [threading.Thread(target=work, args=(seed,)) for seed in expected]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for seed, value in expected.items():
        np.testing.assert_allclose(found[seed], value, atol=1e-3)


def test_arrays_stay_on_the_gpu_through_dlpack(shipped):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    given = feeds(2, 16)
    with load(shipped) as engine:
        expected = engine(**given)["y"]
        outputs = engine.run(
            {name: torch.from_numpy(array).cuda() for name, array in given.items()}, place=Place.DEVICE
        )
        assert outputs["y"].__dlpack_device__() == (DeviceType.CUDA, 0)
        tensor = torch.from_dlpack(outputs["y"])
    np.testing.assert_allclose(tensor.cpu().numpy(), expected, atol=1e-3)
