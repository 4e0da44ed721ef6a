"""A loaded bundle: what `load` gives."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from pipeline.bundle.manifest import Manifest, Plan
from pipeline.core.errors import BackendUnavailable
from pipeline.runtime import arrays, dlpack
from pipeline.runtime.arrays import Array, DeviceArray, Feed, Place
from pipeline.runtime.interface import Interface


class Runner(Protocol):
    """What computes: the engine, or its emulation."""

    note: str | None

    def run(self, feeds: Mapping[str, Any], place: Place) -> Mapping[str, Array | DeviceArray]:
        """Run once on feeds that were checked."""

    def close(self) -> None:
        """Give everything back."""


class Engine:
    """A bundle, loaded: call it with one array an input.

    Any number of threads may call it at once. Use it in a `with` statement, or close it.

    Attributes:
        manifest: The bundle's manifest, verified.
        plan: The plan that runs; None where the emulation does.
        interface: What the inputs have to be.
        note: What has to be known of the results: that they are not the engine's; None where they are.
    """

    def __init__(self, runner: Runner, *, manifest: Manifest, plan: Plan | None, interface: Interface) -> None:
        self._runner = runner
        self._lock = threading.Condition()
        self._running = 0
        self._closed = False
        self.manifest = manifest
        self.plan = plan
        self.interface = interface
        self.note = runner.note

    def __enter__(self) -> Engine:
        """Itself: it is ready."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __call__(self, /, **inputs: Feed) -> dict[str, Array]:
        """Run once.

        Args:
            **inputs: One array an input, of its type and within the profile: NumPy's, or any that speaks DLPack.

        Returns:
            One NumPy array an output.

        Raises:
            InputError: A name, type or shape is wrong; nothing was run.
            BackendUnavailable: The engine is closed, or TensorRT or CUDA failed.
        """
        return self._run(inputs, Place.HOST)

    def run(self, inputs: Mapping[str, Feed], *, place: Place = Place.HOST) -> dict[str, Any]:
        """Run once, with inputs by name; outputs stay on the GPU where `place` says so.

        Returns:
            NumPy arrays, or `DeviceArray`s, which DLPack reads: `torch.from_dlpack(outputs["y"])`.

        Raises:
            InputError: See `__call__`.
            BackendUnavailable: See `__call__`.
        """
        return self._run(inputs, place)

    def close(self) -> None:
        """Wait for running calls, then give everything back. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._lock.wait_for(lambda: self._running == 0)
        self._runner.close()

    def _run(self, inputs: Mapping[str, Feed], place: Place) -> dict[str, Any]:
        arrays.require_arrays(inputs)
        described = {name: _describe(feed) for name, feed in inputs.items()}
        self.interface.check(
            {name: dtype for name, (dtype, _) in described.items()},
            {name: shape for name, (_, shape) in described.items()},
        )
        self._begin()
        try:
            return dict(self._runner.run(inputs, place))
        finally:
            self._end()

    def _begin(self) -> None:
        with self._lock:
            if self._closed:
                raise BackendUnavailable("this engine is closed", where=self.manifest.engine)
            self._running += 1

    def _end(self) -> None:
        with self._lock:
            self._running -= 1
            self._lock.notify_all()


def _describe(feed: Feed) -> tuple[str, tuple[int, ...]]:
    """Type and shape of a feed. Byte-swapped arrays have a type that no input has."""
    if isinstance(feed, np.ndarray):
        native = feed.dtype.isnative
        return (feed.dtype.name if native else f"byte-swapped {feed.dtype.name}"), feed.shape
    if arrays.is_on_host(feed):
        array = arrays.to_host({"input": feed})["input"]
        return array.dtype.name, array.shape
    foreign = dlpack.borrow(feed, stream=-1)  # -1: no ordering asked for, nothing is read
    return foreign.dtype, foreign.shape
