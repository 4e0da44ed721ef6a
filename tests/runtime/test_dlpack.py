import gc
import weakref

import numpy as np
import pytest

from pipeline.runtime import dlpack
from pipeline.runtime.arrays import DeviceArray
from pipeline.runtime.dlpack import DeviceType


class Owner:
    """Holds memory that is lent."""

    def __init__(self, array):
        self.array = array


def lent(array):
    owner = Owner(array)
    given = DeviceArray(
        address=array.ctypes.data,
        dtype=array.dtype.name,
        shape=array.shape,
        device=(DeviceType.CPU, 0),
        owner=owner,
    )
    return given, weakref.ref(owner)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int64", "int32", "int8", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(2, 3), (1,), (), (0, 4)])
def test_other_libraries_read_what_is_lent_where_it_lies(dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    given, _ = lent(array)
    seen = np.from_dlpack(given)
    assert (seen.dtype, seen.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(seen, array)


def test_memory_lives_as_long_as_whoever_took_it():
    given, owner = lent(np.ones(4, np.float32))
    seen = np.from_dlpack(given)
    del given
    gc.collect()
    assert owner() is not None
    assert seen.sum() == 4
    del seen
    gc.collect()
    assert owner() is None


def test_a_capsule_that_nobody_takes_lets_go_by_itself():
    given, owner = lent(np.ones(4, np.float32))
    capsule = given.__dlpack__()
    del given
    gc.collect()
    assert owner() is not None
    del capsule
    gc.collect()
    assert owner() is None


def test_what_is_borrowed_is_described_and_stays_alive():
    array = np.arange(6, dtype=np.int64).reshape(2, 3)
    found = dlpack.borrow(array)
    assert (found.address, found.dtype, found.shape) == (array.ctypes.data, "int64", (2, 3))
    assert (found.contiguous, found.device) == (True, (DeviceType.CPU, 0))
    assert not dlpack.borrow(array.T).contiguous
    alive = weakref.ref(array)
    del array
    gc.collect()
    assert alive() is not None
    del found
    gc.collect()
    assert alive() is None


def test_torch_reads_what_is_lent():
    torch = pytest.importorskip("torch")
    given, owner = lent(np.arange(3, dtype=np.float32))
    tensor = torch.from_dlpack(given)
    assert tensor.tolist() == [0.0, 1.0, 2.0]
    del given, tensor
    gc.collect()
    assert owner() is None


def test_copies_and_other_devices_are_refused():
    given, _ = lent(np.ones(1, np.float32))
    for asked in ({"copy": True}, {"dl_device": (DeviceType.CUDA, 0)}):
        with pytest.raises(BufferError, match="lent where it lies"):
            given.__dlpack__(**asked)


def test_a_type_without_a_numpy_name_is_refused():
    with pytest.raises(TypeError, match="has no NumPy type"):
        dlpack.borrow(np.ones(2, np.complex64))
