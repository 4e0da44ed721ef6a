"""Launching an execution context, as a CUDA graph where its shapes repeat."""

from __future__ import annotations

import logging
from typing import Any

from pipeline.core.errors import BackendUnavailable
from pipeline.runtime import cuda

LOG = logging.getLogger("pipeline.runtime")


class Repeats:
    """Captures a launch when its shapes come a second time, and replays it for as long as they stay.

    A context's internal memory belongs to the shapes that were set last, so one graph is kept, that of these shapes.

    Args:
        context: TensorRT's execution context; its addresses never change.
        stream: The stream that it runs on.
        enabled: Whether to capture at all.
    """

    def __init__(self, context: Any, stream: Any, *, enabled: bool) -> None:
        self._context = context
        self._stream = stream
        self._enabled = enabled
        self._last: object = None
        self._graph: Any = None

    def launch(self, shapes: object) -> None:
        """Run once with the shapes that are set, which `shapes` tells from others.

        Raises:
            BackendUnavailable: TensorRT or CUDA refused.
        """
        repeated = shapes == self._last
        if not repeated:
            self._drop()
            self._last = shapes
        if repeated and self._enabled and self._graph is None:
            self._capture()
        if self._graph is not None:
            cuda.call("cudaGraphLaunch", self._graph, self._stream)
        else:
            self._enqueue()

    def close(self) -> None:
        """Free the graph."""
        self._drop()
        self._context = None

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(int(self._stream)):
            raise BackendUnavailable("TensorRT could not start this run; its reason is in the log")

    def _capture(self) -> None:
        """Record one launch; where that cannot be done, never try again on this context."""
        mode = cuda.bindings().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        cuda.call("cudaStreamBeginCapture", self._stream, mode)
        try:
            self._enqueue()
            recorded = cuda.call("cudaStreamEndCapture", self._stream)
            self._graph = cuda.call("cudaGraphInstantiate", recorded, 0)
            cuda.call("cudaGraphDestroy", recorded)
        except BackendUnavailable as error:
            LOG.warning("these launches are not captured as a CUDA graph: %s", error.what)
            self._enabled = False
            self._end_capture()

    def _end_capture(self) -> None:
        """Take the stream out of a capture that failed; the status says so again, and is not news."""
        cudart = cuda.bindings()
        _, status = cudart.cudaStreamIsCapturing(self._stream)
        if status != cudart.cudaStreamCaptureStatus.cudaStreamCaptureStatusNone:
            cudart.cudaStreamEndCapture(self._stream)

    def _drop(self) -> None:
        if self._graph is not None:
            cuda.call("cudaGraphExecDestroy", self._graph)
            self._graph = None
