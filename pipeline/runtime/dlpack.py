"""DLPack 1.0 (unversioned capsules) through ctypes: reading a foreign tensor's address, and lending one's own.

A capsule named `dltensor` holds a `DLManagedTensor`; whoever takes it over renames it, and a capsule that nobody took
over frees its tensor itself (https://dmlc.github.io/dlpack/latest/python_spec.html).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, runtime_checkable

NAME = b"dltensor"

CODES = {"int": 0, "uint": 1, "float": 2, "bool": 6}
"""DLDataTypeCode of the element types that bundles have."""


class DeviceType(IntEnum):
    """DLDeviceType of the places that this runtime can read or write."""

    CPU = 1
    CUDA = 2
    CUDA_HOST = 3
    CUDA_MANAGED = 13


@runtime_checkable
class Exporter(Protocol):
    """An array that speaks DLPack."""

    def __dlpack__(self, *, stream: int | None = None) -> Any:
        """A capsule."""

    def __dlpack_device__(self) -> tuple[int, int]:
        """Type and number of the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A tensor of someone else; alive as long as this record is.

    Attributes:
        address: Its first element.
        dtype: NumPy name of its element type.
        shape: Its shape.
        contiguous: Whether its elements lie in row-major order without gaps.
        device: Type and number of its device.
        capsule: What keeps it alive.
    """

    address: int
    dtype: str
    shape: tuple[int, ...]
    contiguous: bool
    device: tuple[int, int]
    capsule: Any


class _Device(ctypes.Structure):
    _fields_ = (("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


class _DataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", _Device),
        ("ndim", ctypes.c_int32),
        ("dtype", _DataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


_Destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
# Addresses rather than objects: a destructor sees a capsule that has no reference left.
_new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, _Destructor)(
    ("PyCapsule_New", ctypes.pythonapi)
)
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(("PyCapsule_IsValid", ctypes.pythonapi))
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)
_pointer_at = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", ctypes.pythonapi)
)

_lent: dict[int, tuple[Any, ...]] = {}
"""What must outlive each tensor that was lent, by the address of its `DLManagedTensor`."""


def borrow(source: Exporter, *, stream: int | None = None) -> Foreign:
    """Read what a DLPack exporter says of its tensor, without copying it.

    Args:
        source: The array.
        stream: CUDA stream that will read it; the exporter orders its own work before. None for host memory.

    Raises:
        TypeError: Its element type has no NumPy name.
    """
    capsule = source.__dlpack__(stream=stream)
    managed = _Managed.from_address(_pointer(capsule, NAME))
    tensor: _Tensor = managed.tensor
    shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
    strides = tuple(tensor.strides[axis] for axis in range(tensor.ndim)) if tensor.strides else None
    return Foreign(
        address=(tensor.data or 0) + tensor.byte_offset,
        dtype=_name(tensor.dtype),
        shape=shape,
        contiguous=strides is None or _is_row_major(shape, strides),
        device=(tensor.device.device_type, tensor.device.device_id),
        capsule=capsule,
    )


def lend(*, address: int, dtype: str, shape: tuple[int, ...], device: tuple[int, int], owner: object) -> Any:
    """A capsule over row-major memory; `owner` stays alive until whoever takes it, or the capsule, lets go."""
    kind = dtype.rstrip("0123456789")
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    bits = int(dtype.removeprefix(kind) or 8)
    managed = _Managed(
        tensor=_Tensor(
            data=address,
            device=_Device(*device),
            ndim=len(shape),
            dtype=_DataType(CODES[kind], bits, 1),
            shape=ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64)),
        ),
        deleter=_release,
    )
    place = ctypes.addressof(managed)
    _lent[place] = (managed, sizes, owner)
    return _new(place, NAME, _destroy)


def _name(dtype: _DataType) -> str:
    for kind, code in CODES.items():
        if dtype.code == code and dtype.lanes == 1:
            return "bool" if kind == "bool" else f"{kind}{dtype.bits}"
    raise TypeError(f"DLPack type code {dtype.code} with {dtype.bits} bits has no NumPy type")


def _is_row_major(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def _let_go(place: int) -> None:
    _lent.pop(place, None)


def _destroyed(capsule: int) -> None:
    if _is_valid(capsule, NAME):  # nobody renamed it, so nobody took the tensor over
        _let_go(_pointer_at(capsule, NAME))


_release: Callable[[int], None] = _Deleter(_let_go)
_destroy: Callable[[int], None] = _Destructor(_destroyed)
