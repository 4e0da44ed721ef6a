"""The few calls of CUDA's runtime that inference needs, through `cuda-bindings`, with every status checked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from pipeline.core.errors import BackendUnavailable

EXTRA = "pip install 'trt-pipeline[gpu]'"


def bindings() -> ModuleType:
    """The module `cuda.bindings.runtime`.

    Raises:
        BackendUnavailable: It is not installed.
    """
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise BackendUnavailable("running an engine needs cuda-bindings", hint=EXTRA) from error
    module: ModuleType = runtime
    return module


def call(name: str, *arguments: Any) -> Any:
    """Call a function of CUDA's runtime.

    Returns:
        Its result: nothing, a value, or a tuple of values.

    Raises:
        BackendUnavailable: CUDA answered with an error.
    """
    cudart = bindings()
    status, *results = getattr(cudart, name)(*arguments)
    if status != cudart.cudaError_t.cudaSuccess:
        _, text = cudart.cudaGetErrorString(status)
        raise BackendUnavailable(f"{name} failed with {status.name}: {text.decode()}")
    return results[0] if len(results) == 1 else tuple(results) or None


@contextmanager
def device(index: int) -> Iterator[None]:
    """Make GPU `index` this thread's, and give the thread its own back."""
    before = call("cudaGetDevice")
    call("cudaSetDevice", index)
    try:
        yield
    finally:
        call("cudaSetDevice", before)


def stream() -> Any:
    """A stream that does not wait for the default one."""
    return call("cudaStreamCreateWithFlags", bindings().cudaStreamNonBlocking)


class Memory:
    """Bytes on the current GPU, freed with the last reference.

    Args:
        size: Bytes; at least one is allocated.
        index: The GPU, which must be this thread's.
    """

    def __init__(self, size: int, index: int) -> None:
        self.address: int = 0
        self.index = index
        self.address = int(call("cudaMalloc", max(size, 1)))

    def __del__(self) -> None:
        """Free it; at interpreter exit the driver does."""
        if self.address:
            status, *_ = bindings().cudaFree(self.address)
            self.address = 0
            del status  # an error of earlier work, which its own call has reported


def copy(target: int, source: int, size: int, on: Any) -> None:
    """Copy `size` bytes between any two places, in the order of stream `on`."""
    call("cudaMemcpyAsync", target, source, size, bindings().cudaMemcpyKind.cudaMemcpyDefault, on)
