"""One execution context with its stream and buffers: what one call has to itself on the GPU."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.core.artifacts import TensorInfo
from pipeline.core.errors import BackendUnavailable
from pipeline.runtime import arrays, cuda
from pipeline.runtime.arrays import Array, DeviceArray, Place
from pipeline.runtime.cuda import Memory
from pipeline.runtime.deserialise import RTX, Deserialised
from pipeline.runtime.dlpack import DeviceType, Exporter
from pipeline.runtime.interface import Interface
from pipeline.runtime.repeats import Repeats


class Lane:
    """Runs one call at a time. Its buffers are as large as the profile's largest shapes and never move.

    Args:
        loaded: The engine.
        interface: What it takes.
        outputs: What it gives.
        device: The GPU, which must be this thread's.
        graphs: Whether calls whose shapes repeat run as CUDA graphs.
    """

    def __init__(
        self, loaded: Deserialised, interface: Interface, outputs: tuple[TensorInfo, ...], *, device: int, graphs: bool
    ) -> None:
        self._device = device
        self._inputs = interface.inputs
        self._outputs = outputs
        self._stream = cuda.stream()
        self._context = _context(loaded, graphs=graphs)
        captures = graphs and loaded.flavour != RTX  # TensorRT-RTX captures and replays by itself
        self._repeats = Repeats(self._context, self._stream, enabled=captures)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._memory = self._allocate({name: bounds[2] for name, bounds in interface.bounds.items()})

    def run(self, feeds: Mapping[str, Any], place: Place) -> dict[str, Array | DeviceArray]:
        """Copy in, run, copy out, and wait for the end; the feeds were checked."""
        alive: list[Any] = []
        try:
            alive += (self._copy_in(item, feeds[item.name]) for item in self._inputs)
            self._set_shapes({item.name: tuple(feed.shape) for item, feed in zip(self._inputs, alive, strict=True)})
            self._repeats.launch(tuple(self._shapes.items()))
            return {item.name: self._copy_out(item, place) for item in self._outputs}
        finally:  # also where something failed: a copy may still be reading
            cuda.call("cudaStreamSynchronize", self._stream)

    def close(self) -> None:
        """Give back the context, its graph, its stream and its buffers."""
        cuda.call("cudaStreamSynchronize", self._stream)
        self._repeats.close()
        del self._context
        self._memory.clear()
        cuda.call("cudaStreamDestroy", self._stream)

    def _allocate(self, largest: dict[str, tuple[int, ...]]) -> dict[str, Memory]:
        self._set_shapes(largest)
        memory = {}
        for item in (*self._inputs, *self._outputs):
            memory[item.name] = Memory(math.prod(self._shape(item)) * np.dtype(item.dtype).itemsize, self._device)
            _require(self._context.set_tensor_address(item.name, memory[item.name].address), "address", item.name)
        return memory

    def _set_shapes(self, shapes: dict[str, tuple[int, ...]]) -> None:
        if shapes == self._shapes:
            return
        for name, shape in shapes.items():
            _require(self._context.set_input_shape(name, shape), f"shape {shape}", name)
        if missing := self._context.infer_shapes():
            raise BackendUnavailable(f"TensorRT cannot tell the shapes of the outputs; it lacks {list(missing)}")
        self._shapes = shapes

    def _shape(self, item: TensorInfo) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(item.name))
        if any(size < 0 for size in shape):
            raise BackendUnavailable(f"the shape of {item.name} depends on values, which this runtime does not run")
        return shape

    def _copy_in(self, item: TensorInfo, feed: Any) -> Any:
        """Start the copy of one feed; gives what must live until it is done."""
        target = self._memory[item.name].address
        if arrays.is_on_host(feed):
            array = arrays.to_host({item.name: feed})[item.name]
            cuda.copy(target, array.ctypes.data, array.nbytes, self._stream)
            return array
        exporter: Exporter = feed
        foreign = arrays.on_device(item.name, exporter, stream=int(self._stream), device=self._device)
        size = math.prod(foreign.shape) * np.dtype(foreign.dtype).itemsize
        cuda.copy(target, foreign.address, size, self._stream)
        return foreign

    def _copy_out(self, item: TensorInfo, place: Place) -> Array | DeviceArray:
        source, shape = self._memory[item.name].address, self._shape(item)
        if place is Place.HOST:
            array: Array = np.empty(shape, np.dtype(item.dtype))
            cuda.copy(array.ctypes.data, source, array.nbytes, self._stream)
            return array
        size = math.prod(shape) * np.dtype(item.dtype).itemsize
        memory = Memory(size, self._device)
        cuda.copy(memory.address, source, size, self._stream)
        return DeviceArray(
            address=memory.address,
            dtype=item.dtype,
            shape=shape,
            device=(DeviceType.CUDA, self._device),
            owner=memory,
        )


def _context(loaded: Deserialised, *, graphs: bool) -> Any:
    engine, trt = loaded.engine, loaded.trt
    if loaded.flavour == RTX:
        config = engine.create_runtime_config()
        strategies = trt.CudaGraphStrategy
        config.cuda_graph_strategy = strategies.WHOLE_GRAPH_CAPTURE if graphs else strategies.DISABLED
        context = engine.create_execution_context(config)
    else:
        context = engine.create_execution_context()
    if context is None:
        raise BackendUnavailable(
            "TensorRT made no execution context, most often for want of memory",
            hint="its reason is in the log of logger 'pipeline.runtime'; load with fewer streams",
        )
    return context


def _require(accepted: bool, what: str, name: str) -> None:
    if not accepted:
        raise BackendUnavailable(f"TensorRT does not take the {what} of {name}")
