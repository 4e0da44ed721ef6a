"""Running a plan on a GPU with Polygraphy's TrtRunner."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

from pipeline.backends.tensorrt import flavour as flavours
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.core import device, plan_code
from pipeline.core.errors import BackendUnavailable, StoreError

Arrays = Mapping[str, np.ndarray[Any, Any]]


class Engine:
    """A deserialised plan; use it as a context manager.

    A plan is native code: it is deserialised only after its digest was found to be the one that the caller trusts, and
    with host code disallowed (Polygraphy's own loaders allow it).

    Args:
        plan: The `.plan` file.
        sha256: Its digest, from a record that is trusted.
        flavour: What built it; only the same release loads it.

    Raises:
        BackendUnavailable: There is no GPU, or the flavour is not installed.
        StoreError: The file is not the one that `sha256` names.
    """

    def __init__(self, plan: Path, *, sha256: str, flavour: Flavour) -> None:
        devices = device.probe()  # before any Runtime exists: without a GPU its first use may crash
        if not devices.gpus:
            raise BackendUnavailable(f"an engine needs a GPU: {devices.reason}", where=str(plan))
        trt = flavours.select(flavour)
        from polygraphy.backend.trt import TrtRunner

        self._trt = trt
        self._runner = TrtRunner(deserialise(trt, plan, sha256))

    def __enter__(self) -> Engine:
        """Make the execution context, with Polygraphy's listener for debug tensors."""
        self._runner.activate()
        if hasattr(self._trt.IExecutionContext, "unfused_tensors_debug_state"):
            self._runner.context.unfused_tensors_debug_state = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Free it."""
        self._runner.deactivate()

    def __call__(self, feeds: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Run on the GPU.

        Args:
            feeds: One array an input, of its type and within the profile.

        Returns:
            One array an output, on the host.
        """
        wanted = set(self._outputs())
        return {name: array for name, array in self.tensors(feeds).items() if name in wanted}

    def tensors(self, feeds: Arrays) -> dict[str, np.ndarray[Any, Any]]:
        """Run on the GPU and take the debug tensors too, by TensorRT's names, where the plan was built with them."""
        found = self._runner.infer(dict(feeds))
        return {name: np.array(value) for name, value in found.items()}

    def _outputs(self) -> Iterator[str]:
        engine = self._runner.engine
        for name in map(engine.get_tensor_name, range(engine.num_io_tensors)):
            if engine.get_tensor_mode(name) == self._trt.TensorIOMode.OUTPUT:
                yield name


def deserialise(trt: ModuleType, plan: Path, sha256: str) -> Any:
    """The engine of a plan that has the trusted digest. Needs a GPU.

    Raises:
        BackendUnavailable: This release does not load it.
        StoreError: The file is not the one that `sha256` names.
    """
    from polygraphy.backend.trt import get_trt_logger

    hint = "a plan loads only with the release that built it, on a GPU that it was built for"
    try:
        _, engine = plan_code.deserialise(
            trt, get_trt_logger(), plan.read_bytes(), sha256=sha256, where=str(plan), hint=hint
        )
    except ValueError as error:
        raise StoreError(
            str(error),
            where=str(plan),
            hint="build it again; a plan is code, and this one is not the one that was checked",
        ) from error
    return engine
