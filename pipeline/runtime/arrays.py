"""Arrays on their way in and out: NumPy, or anything that speaks DLPack, on the host or on the GPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.core.errors import InputError
from pipeline.runtime import dlpack
from pipeline.runtime.dlpack import DeviceType, Exporter, Foreign

Array = npt.NDArray[Any]
Feed = Array | Exporter

HOST = frozenset({DeviceType.CPU, DeviceType.CUDA_HOST})


class Place(StrEnum):
    """Where outputs are wanted."""

    HOST = "host"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceArray:
    """Row-major memory on a device, for any library that reads DLPack: `torch.from_dlpack(array)`.

    Attributes:
        address: Its first element. All work on it is finished.
        dtype: NumPy name of its element type.
        shape: Its shape.
        device: DLPack's type and number of its device.
        owner: What frees the memory when nothing refers to it any more.
    """

    address: int
    dtype: str
    shape: tuple[int, ...]
    device: tuple[int, int]
    owner: object

    def __dlpack_device__(self) -> tuple[int, int]:
        """Type and number of the device."""
        return self.device

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A capsule that keeps the memory alive.

        The memory is ready, so no `stream` has to wait for it; capsules of any version's consumer may be unversioned.

        Raises:
            BufferError: A copy, or another device, is asked for.
        """
        del stream, max_version
        if copy or dl_device not in (None, self.device):
            raise BufferError("this array is lent where it lies, and is not copied")
        return dlpack.lend(address=self.address, dtype=self.dtype, shape=self.shape, device=self.device, owner=self)


def is_on_host(feed: Feed) -> bool:
    """Whether the processor can read `feed`."""
    return isinstance(feed, np.ndarray) or feed.__dlpack_device__()[0] in HOST


def to_host(feeds: Mapping[str, Any]) -> dict[str, Array]:
    """Every feed as a row-major NumPy array, without copying where it is one already.

    Raises:
        InputError: A feed is no array, or lies on a GPU.
    """
    return {name: _host(name, feed) for name, feed in feeds.items()}


def require_arrays(feeds: Mapping[str, Any]) -> None:
    """Refuse what neither is a NumPy array nor speaks DLPack; lists have no element type to check."""
    for name, feed in feeds.items():
        if not isinstance(feed, np.ndarray | Exporter):
            raise InputError(
                f"{name} is a {type(feed).__name__}, and neither a NumPy array nor a DLPack one",
                hint="numpy.asarray(value, dtype=…) makes one of a list",
            )


def on_device(name: str, feed: Exporter, *, stream: int, device: int) -> Foreign:
    """A feed that lies on GPU `device`, for reading on `stream`.

    Raises:
        InputError: It lies elsewhere, is not row-major, or has a type that bundles do not have.
    """
    place = feed.__dlpack_device__()
    if place != (DeviceType.CUDA, device) and place[0] != DeviceType.CUDA_MANAGED:
        raise InputError(f"{name} lies on DLPack device {place}, and this engine runs on CUDA device {device}")
    try:
        foreign = dlpack.borrow(feed, stream=stream)
    except (TypeError, BufferError) as error:
        raise InputError(f"{name} cannot be read: {error}") from error
    if not foreign.contiguous:
        raise InputError(f"{name} is not row-major", hint="copy it first: tensor.contiguous()")
    return foreign


def _host(name: str, feed: Any) -> Array:
    require_arrays({name: feed})
    if not is_on_host(feed):
        raise InputError(f"{name} lies on a GPU, and this backend reads host memory", hint="copy it to the host first")
    try:
        array = feed if isinstance(feed, np.ndarray) else np.from_dlpack(feed)
    except (RuntimeError, BufferError, TypeError) as error:
        raise InputError(f"{name} cannot be read: {error}") from error
    return np.ascontiguousarray(array).reshape(array.shape)
