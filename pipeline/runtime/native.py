"""The engine itself, on the GPU: any number of threads may call it, each has a lane to itself while it runs."""

from __future__ import annotations

import queue
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.bundle.manifest import Graph, Plan
from pipeline.core.errors import BundleError
from pipeline.runtime import cuda
from pipeline.runtime.arrays import Array, DeviceArray, Place
from pipeline.runtime.deserialise import Deserialised, deserialise
from pipeline.runtime.interface import Interface
from pipeline.runtime.lane import Lane


class Native:
    """A deserialised plan with `streams` lanes.

    Args:
        plan: What the verified manifest says of the plan; it fits this machine.
        content: The plan.
        sha256: Its digest in the verified manifest.
        graph: What the plan was built from.
        interface: What it takes.
        device: Index of the GPU.
        streams: Calls that may run on the GPU at once; each costs the memory of an execution context.
        graphs: Whether calls whose shapes repeat run as CUDA graphs.

    Raises:
        BundleError: The plan's inputs and outputs are not those of the manifest.
        BackendUnavailable: TensorRT or CUDA refused.
    """

    note: str | None = None

    def __init__(
        self,
        plan: Plan,
        content: bytes,
        *,
        sha256: str,
        graph: Graph,
        interface: Interface,
        device: int,
        streams: int,
        graphs: bool,
    ) -> None:
        self._device = device
        self._streams = streams
        self._free: queue.LifoQueue[Lane] = queue.LifoQueue()
        with cuda.device(device):
            self._loaded = deserialise(plan, content, sha256=sha256)
            _require_interface(self._loaded, plan, graph)
            for _ in range(streams):
                self._free.put(Lane(self._loaded, interface, graph.outputs, device=device, graphs=graphs))

    def run(self, feeds: Mapping[str, Any], place: Place) -> dict[str, Array | DeviceArray]:
        """Run once; waits for a lane where all are busy. A lane that failed is used again: its stream is drained."""
        lane = self._free.get()
        try:
            with cuda.device(self._device):
                return lane.run(feeds, place)
        finally:
            self._free.put(lane)

    def close(self) -> None:
        """Wait for running calls and give everything back."""
        with cuda.device(self._device):
            for _ in range(self._streams):
                self._free.get().close()
            del self._loaded


def _require_interface(loaded: Deserialised, plan: Plan, graph: Graph) -> None:
    """What the engine says of itself must be what the manifest says: names, directions, types."""
    engine, trt = loaded.engine, loaded.trt
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    found = {
        name: (
            engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
            np.dtype(trt.nptype(engine.get_tensor_dtype(name))).name,
        )
        for name in names
    }
    expected = {
        **{item.name: (True, item.dtype) for item in graph.inputs},
        **{item.name: (False, item.dtype) for item in graph.outputs},
    }
    if found != expected:
        raise BundleError(f"the plan's tensors are {found}, and the manifest says {expected}", where=plan.path)
