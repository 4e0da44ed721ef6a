import pytest

from pipeline.core import device


@pytest.fixture(scope="session")
def gpu():
    """The first GPU of this machine; tests that ask for it are skipped, with the reason, where there is none."""
    devices = device.probe()
    if not devices.gpus:
        pytest.skip(f"needs a GPU: {devices.reason}")
    return devices.gpus[0]
