"""How long a plan takes on a GPU: from launch to done, inputs and outputs resident in its memory."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.backends.tensorrt import flavour as flavours
from pipeline.backends.tensorrt.engine import deserialise
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.core import device
from pipeline.core.errors import BackendUnavailable

WARM_UP = 50
RUNS = 500

_THREAD_LOCAL = 1
"""`CU_STREAM_CAPTURE_MODE_THREAD_LOCAL`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Times of one plan.

    Attributes:
        median_ms: Median.
        p99_ms: 99th percentile.
        spread_ms: From the first quartile to the third.
        runs: Runs counted; those of the warm-up are not.
    """

    median_ms: float
    p99_ms: float
    spread_ms: float
    runs: int


def measure(
    plan: Path,
    *,
    sha256: str,
    flavour: Flavour,
    feeds: Mapping[str, npt.NDArray[Any]],
    graphs: bool,
    warm_up: int = WARM_UP,
    runs: int = RUNS,
) -> Timing:
    """Run a plan again and again on this machine's GPU.

    Args:
        plan: The `.plan` file.
        sha256: Its digest, from a record that is trusted.
        flavour: What built it.
        feeds: One array an input, of its type and within the profile.
        graphs: Whether the run is one CUDA graph: TensorRT-RTX captures it itself, for TensorRT it is captured here.
        warm_up: Runs that are not counted.
        runs: Runs that are.

    Raises:
        BackendUnavailable: There is no GPU, the plan does not load, or CUDA refused something.
        StoreError: The file is not the one that `sha256` names.
    """
    devices = device.probe()  # before any Runtime exists: without a GPU its first use may crash
    if not devices.gpus:
        raise BackendUnavailable(f"timing a plan needs a GPU: {devices.reason}", where=str(plan))
    trt = flavours.select(flavour)
    from polygraphy import cuda

    engine = deserialise(trt, plan, sha256)
    with ExitStack() as stack:
        stream = stack.enter_context(cuda.Stream())
        context = _context(trt, engine, flavour, graphs)
        _bind(trt, engine, context, feeds, stream, stack)
        launch = _launch(context, stream, plan)
        launch()
        stream.synchronize()
        if graphs and flavour is Flavour.TENSORRT:
            launch = stack.enter_context(_Captured(launch, stream.ptr))
        for _ in range(warm_up):
            launch()
            stream.synchronize()
        times = [_timed(launch, stream) for _ in range(runs)]
    return summary(times)


def summary(times: Sequence[float]) -> Timing:
    """What single runs come to, in ms."""
    first, median, third, p99 = np.percentile(times, (25, 50, 75, 99))
    return Timing(median_ms=float(median), p99_ms=float(p99), spread_ms=float(third - first), runs=len(times))


def _timed(launch: Callable[[], None], stream: Any) -> float:
    start = time.perf_counter()
    launch()
    stream.synchronize()
    return (time.perf_counter() - start) * 1e3


def _context(trt: Any, engine: Any, flavour: Flavour, graphs: bool) -> Any:
    if flavour is Flavour.TENSORRT:
        return engine.create_execution_context()
    config = engine.create_runtime_config()
    strategy = trt.CudaGraphStrategy
    config.cuda_graph_strategy = strategy.WHOLE_GRAPH_CAPTURE if graphs else strategy.DISABLED
    # Lazily specialised kernels would replace each other while the clock runs.
    config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
    return engine.create_execution_context(config)


def _bind(
    trt: Any, engine: Any, context: Any, feeds: Mapping[str, npt.NDArray[Any]], stream: Any, stack: ExitStack
) -> None:
    """Inputs and outputs in the GPU's memory for as long as `stack` is open."""
    from polygraphy import cuda
    from polygraphy.datatype import DataType

    names = list(_tensors(engine))
    for name in (name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT):
        array = np.ascontiguousarray(feeds[name])
        context.set_input_shape(name, array.shape)
        held = stack.enter_context(cuda.DeviceArray(array.shape, DataType.from_dtype(array.dtype)))
        held.copy_from(array, stream)
        context.set_tensor_address(name, held.ptr)
    for name in (name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT):
        size = math.prod(context.get_tensor_shape(name)) * engine.get_tensor_dtype(name).itemsize
        held = stack.enter_context(cuda.DeviceArray.raw((size,)))
        context.set_tensor_address(name, held.ptr)
    stream.synchronize()


def _tensors(engine: Any) -> Iterator[str]:
    return map(engine.get_tensor_name, range(engine.num_io_tensors))


def _launch(context: Any, stream: Any, plan: Path) -> Callable[[], None]:
    def launch() -> None:
        if not context.execute_async_v3(stream.ptr):
            raise BackendUnavailable("TensorRT did not run this plan", where=str(plan))

    return launch


class _Captured:
    """One launch as a CUDA graph, through the driver's API; enter it to get what launches it."""

    def __init__(self, launch: Callable[[], None], stream: int) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._stream = ctypes.c_void_p(stream)
        self._graph, self._executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._ask("cuStreamBeginCapture_v2", self._stream, _THREAD_LOCAL)
        try:
            launch()
        finally:
            self._ask("cuStreamEndCapture", self._stream, ctypes.byref(self._graph))
        flags = ctypes.c_ulonglong(0)
        self._ask("cuGraphInstantiateWithFlags", ctypes.byref(self._executable), self._graph, flags)

    def __enter__(self) -> Callable[[], None]:
        return lambda: self._ask("cuGraphLaunch", self._executable, self._stream)

    def __exit__(self, *_: object) -> None:
        self._ask("cuGraphExecDestroy", self._executable)
        self._ask("cuGraphDestroy", self._graph)

    def _ask(self, name: str, *arguments: Any) -> None:
        status = getattr(self._cuda, name)(*arguments)
        if status:
            raise BackendUnavailable(f"{name} answered CUDA error {status}", where="CUDA graph")
