"""The one place that gives bytes to TensorRT: a plan is native code, whichever room loads it.

It takes bytes, never a path, and hashes those very bytes: nothing can be exchanged between check and use.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from pipeline.core import digest
from pipeline.core.errors import BackendUnavailable


def deserialise(trt: ModuleType, logger: Any, content: bytes, *, sha256: str, where: str, hint: str) -> tuple[Any, Any]:
    """Make an engine of a plan, with host code disallowed. Needs a GPU.

    Args:
        trt: The module of the flavour that built the plan.
        logger: A logger of that module.
        content: The plan.
        sha256: Its digest, from a record that is trusted.
        where: What to name in an error.
        hint: What to do where this release does not load it.

    Returns:
        TensorRT's runtime, which must live as long as the engine, and the engine.

    Raises:
        ValueError: `content` has another digest; nothing was deserialised.
        BackendUnavailable: This release does not load it.
    """
    found = digest.of_bytes(content)
    if found != sha256:
        raise ValueError(f"this plan has digest {found}, not the recorded {sha256}: it is not deserialised")
    runtime = trt.Runtime(logger)
    runtime.engine_host_code_allowed = False
    engine = runtime.deserialize_cuda_engine(content)
    if engine is None:
        raise BackendUnavailable(f"{trt.__name__} {trt.__version__} does not load this plan", where=where, hint=hint)
    return runtime, engine
