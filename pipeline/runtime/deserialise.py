"""From the bytes of a verified plan to an engine of the very release that built it."""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from pipeline.bundle.manifest import Plan
from pipeline.core import plan_code
from pipeline.core.errors import BackendUnavailable, BundleError

LOG = logging.getLogger("pipeline.runtime")

RTX = "tensorrt-rtx"

MODULES = {RTX: "tensorrt_rtx", "tensorrt": "tensorrt"}
"""Python module of each flavour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deserialised:
    """An engine and what must live as long as it does.

    Attributes:
        flavour: `tensorrt-rtx` or `tensorrt`.
        trt: Its module.
        runtime: TensorRT's runtime.
        engine: TensorRT's engine.
    """

    flavour: str
    trt: ModuleType
    runtime: Any
    engine: Any


def deserialise(plan: Plan, content: bytes, *, sha256: str) -> Deserialised:
    """Make an engine of a plan that fits this machine (see `fit`), with host code disallowed.

    Args:
        plan: What the verified manifest says of it.
        content: Its bytes.
        sha256: Their digest in the verified manifest.

    Raises:
        BundleError: The bytes are not those.
        BackendUnavailable: The library does not load, is of another version, or refuses the plan.
    """
    trt = _module(plan)
    hint = "its reason is in the log of logger 'pipeline.runtime'; `trt-pipeline rebuild` makes a plan here"
    try:
        runtime, engine = plan_code.deserialise(trt, _logger(trt), content, sha256=sha256, where=plan.path, hint=hint)
    except ValueError as error:
        raise BundleError(str(error), where=plan.path) from error
    return Deserialised(flavour=plan.flavour, trt=trt, runtime=runtime, engine=engine)


def _module(plan: Plan) -> ModuleType:
    if plan.flavour not in MODULES:
        raise BundleError(f"flavour {plan.flavour!r} is none of {', '.join(MODULES)}", where=plan.path)
    try:
        trt = importlib.import_module(MODULES[plan.flavour])
    except (ImportError, OSError) as error:  # OSError: a shared library that it needs is missing
        raise BackendUnavailable(f"{plan.flavour} cannot be loaded: {error}", where=plan.path) from error
    if trt.__version__ != plan.version:
        raise BackendUnavailable(
            f"version: it needs {plan.flavour} {plan.version} exactly, and {trt.__version__} was loaded",
            where=plan.path,
        )
    return trt


def _logger(trt: ModuleType) -> Any:
    """TensorRT's messages as records of `pipeline.runtime`; a process keeps the first logger that it is given."""
    levels = {"INTERNAL_ERROR": logging.CRITICAL, "ERROR": logging.ERROR, "WARNING": logging.WARNING}

    class Logger(trt.ILogger):  # type: ignore[misc,name-defined]  # the base comes from a module chosen at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            LOG.log(levels.get(severity.name, logging.DEBUG), "%s", message)

    return Logger()
