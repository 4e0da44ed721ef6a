import pytest

from pipeline.core.device import Gpu
from pipeline.core.errors import BackendUnavailable
from pipeline.runtime import fit
from pipeline.runtime.machine import Library, Machine
from tests import bundles

ADA = Gpu(name="NVIDIA L4", capability="8.9", memory_bytes=24 << 30)
HOPPER = Gpu(name="NVIDIA H100", capability="9.0", memory_bytes=80 << 30)
RTX = {"tensorrt-rtx": Library(version="1.7.1.116", cuda=13)}


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine(gpu=ADA, cuda="13.0", libraries=RTX), ()),
        (
            Machine(gpu=ADA, cuda="13.0"),
            ("flavour: it needs tensorrt-rtx 1.7.1.116, which is not installed",),
        ),
        (
            Machine(gpu=ADA, cuda="13.0", libraries={"tensorrt-rtx": Library(version="1.8.0.1", cuda=13)}),
            ("version: it needs tensorrt-rtx 1.7.1.116 exactly, and 1.8.0.1 is installed",),
        ),
        (
            Machine(gpu=HOPPER, cuda="13.0", libraries=RTX),
            ("compute capability: it was built for 8.6, 8.9, and this NVIDIA H100 has 9.0",),
        ),
        (
            Machine(gpu=ADA, cuda="12.8", libraries=RTX),
            ("driver: tensorrt-rtx here needs CUDA 13, and this driver supports CUDA 12.8",),
        ),
        (
            Machine(gpu=HOPPER, cuda=None, libraries=RTX),
            (
                "compute capability: it was built for 8.6, 8.9, and this NVIDIA H100 has 9.0",
                "driver: tensorrt-rtx here needs CUDA 13, and this driver supports CUDA None",
            ),
        ),
        (Machine(gpu=None, reason="no NVIDIA driver", libraries=RTX), ("GPU: no NVIDIA driver",)),
    ],
)
def test_each_thing_that_does_not_fit_is_named(machine, expected):
    assert fit.problems(bundles.plan(), machine) == expected


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return bundles.write(
        tmp_path_factory.mktemp("two") / "bundle",
        bundles.plan("a.plan"),
        bundles.plan("b.plan", targets=("12.0",)),
        bundles.plan("c.plan", flavour=bundles.TENSORRT, version="10.13.3.9", targets=("9.0",)),
    )


def test_the_first_plan_that_fits_is_chosen_or_the_one_that_was_asked_for(manifest):
    both = RTX | {"tensorrt": Library(version="10.13.3.9", cuda=None)}
    assert fit.choose(manifest, Machine(gpu=ADA, cuda="13.0", libraries=RTX), wanted=None, where="b").path == "a.plan"
    hopper = Machine(gpu=HOPPER, cuda="13.0", libraries=both)
    assert fit.choose(manifest, hopper, wanted=None, where="b").path == "c.plan"
    assert fit.choose(manifest, hopper, wanted="c.plan", where="b").path == "c.plan"


def test_a_plan_that_was_asked_for_and_does_not_fit_names_the_one_that_does(manifest):
    with pytest.raises(BackendUnavailable) as caught:
        fit.choose(manifest, Machine(gpu=ADA, cuda="13.0", libraries=RTX), wanted="b.plan", where="bundle")
    assert str(caught.value) == (
        "bundle: this plan does not fit this machine\n"
        "    b.plan: compute capability: it was built for 12.0, and this NVIDIA L4 has 8.9\n"
        "  hint: a.plan of this bundle fits"
    )


def test_where_none_fits_the_error_says_what_would(manifest):
    with pytest.raises(BackendUnavailable) as caught:
        fit.choose(manifest, Machine(gpu=HOPPER, cuda="13.0", libraries=RTX), wanted=None, where="bundle")
    assert str(caught.value) == (
        "bundle: no plan of this bundle fits this machine\n"
        "    a.plan: compute capability: it was built for 8.6, 8.9, and this NVIDIA H100 has 9.0\n"
        "    b.plan: compute capability: it was built for 12.0, and this NVIDIA H100 has 9.0\n"
        "    c.plan: flavour: it needs tensorrt 10.13.3.9, which is not installed\n"
        "  hint: c.plan fits this GPU: pip install 'tensorrt==10.13.3.9'"
    )
    other = Gpu(name="NVIDIA A100", capability="8.0", memory_bytes=40 << 30)
    with pytest.raises(BackendUnavailable, match=r"makes a plan for compute capability 8\.0 from this bundle"):
        fit.choose(manifest, Machine(gpu=other, cuda="13.0", libraries=RTX), wanted=None, where="bundle")
