"""Running a plan on a GPU with Polygraphy's TrtRunner."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from pipeline.backends.tensorrt import flavour as flavours
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.core import device, digest
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

        self._runner = TrtRunner(_deserialise(trt, _verified(plan, sha256), plan))

    def __enter__(self) -> Engine:
        """Make the execution context."""
        self._runner.activate()
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
        outputs = self._runner.infer(dict(feeds))
        return {name: np.array(value) for name, value in outputs.items()}


def _verified(plan: Path, sha256: str) -> bytes:
    content = plan.read_bytes()
    found = digest.of_bytes(content)
    if found != sha256:
        raise StoreError(
            f"this plan has digest {found}, not the recorded {sha256}: it is not deserialised",
            where=str(plan),
            hint="build it again; a plan is code, and this one is not the one that was checked",
        )
    return content


def _deserialise(trt: Any, content: bytes, plan: Path) -> Any:
    from polygraphy.backend.trt import get_trt_logger

    runtime = trt.Runtime(get_trt_logger())
    runtime.engine_host_code_allowed = False
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise BackendUnavailable(
            f"{trt.__name__} {trt.__version__} does not load this plan",
            where=str(plan),
            hint="a plan loads only with the release that built it, on a GPU that it was built for",
        )
    return engine
