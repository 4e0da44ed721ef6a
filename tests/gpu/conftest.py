import pytest

from pipeline.backends.tensorrt import flavour, process, profiles
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import BuildRequest
from pipeline.core import device
from pipeline.core.progress import Silent
from pipeline.graph import io
from tests import encoder

NAMED = ("7.5", "8.0", "8.6", "8.9", "12.0", "12.1")


@pytest.fixture(scope="session")
def gpu():
    """The first GPU of this machine; tests that ask for it are skipped, with the reason, where there is none."""
    devices = device.probe()
    if not devices.gpus:
        pytest.skip(f"needs a GPU: {devices.reason}")
    return devices.gpus[0]


@pytest.fixture(scope="module", params=list(Flavour))
def build(request, gpu, tmp_path_factory):
    """Builds a form of the encoder for this machine's GPU, by each flavour that can; gives the request."""
    kind = request.param
    if flavour.version(kind) is None:
        pytest.skip(f"{kind} is not installed")
    if kind is Flavour.RTX and gpu.capability not in NAMED:
        pytest.skip(f"tensorrt-rtx has no target {gpu.capability}")

    def run(model, **more):
        folder = tmp_path_factory.mktemp(kind.module)
        asked = BuildRequest(
            onnx=io.save(model, folder),
            plan=folder / "a.plan",
            flavour=kind,
            targets=(gpu.capability,) if kind is Flavour.RTX else (),
            workspace_mib=256,
            tf32=False,
            profiles=profiles.of_inputs(encoder.INPUTS, encoder.AXES),
            timing_cache=None if kind is Flavour.RTX else folder / "timing.cache",
            **more,
        )
        answer = process.build(asked, folder / "log", Silent())
        assert answer.built, answer.errors
        return asked

    return run
