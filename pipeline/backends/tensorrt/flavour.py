"""TensorRT or TensorRT-RTX: which module is loaded, decided once a process."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from enum import StrEnum
from types import ModuleType

from pipeline.core.errors import BackendUnavailable

_POLYGRAPHY = ("polygraphy.backend.trt", "polygraphy.backend.tensorrt_rtx")


class Flavour(StrEnum):
    """A distribution of TensorRT, by its name on PyPI with dashes."""

    RTX = "tensorrt-rtx"
    TENSORRT = "tensorrt"

    @property
    def module(self) -> str:
        """Name of its Python module."""
        return self.replace("-", "_")


def of_target(target: str) -> Flavour:
    """The flavour that builds for `target`, a compute capability or `gpu`."""
    return Flavour.TENSORRT if target == "gpu" else Flavour.RTX


def select(flavour: Flavour) -> ModuleType:
    """Make `flavour` the one that this process uses, for Polygraphy too.

    Returns:
        The module `tensorrt` or `tensorrt_rtx`.

    Raises:
        BackendUnavailable: It is not installed, or this process already uses the other one.
    """
    import polygraphy.config

    rtx = flavour is Flavour.RTX
    loaded = any(name in sys.modules for name in _POLYGRAPHY)
    if loaded and rtx is not bool(polygraphy.config.USE_TENSORRT_RTX):
        other = Flavour.TENSORRT if rtx else Flavour.RTX
        raise BackendUnavailable(
            f"this process already uses {other}; {flavour} cannot be loaded beside it",
            hint="use one flavour a process: Polygraphy binds its module when it is first imported",
        )
    polygraphy.config.USE_TENSORRT_RTX = rtx
    return _load(flavour)


def version(flavour: Flavour) -> str | None:
    """Version of the installed distribution, or None. Imports nothing."""
    for name in (flavour, f"{flavour}-cu13", f"{flavour}-cu12"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _load(flavour: Flavour) -> ModuleType:
    try:
        return importlib.import_module(flavour.module)
    except (ImportError, OSError) as error:  # OSError: a shared library that it needs is missing
        raise BackendUnavailable(
            f"{flavour} cannot be loaded: {error}",
            hint=HINTS[flavour],
        ) from error


HINTS = {
    Flavour.RTX: "pip install 'tensorrt-rtx>=1.2,<1.8' (on PyPI; no GPU needed to build)",
    Flavour.TENSORRT: "pip install 'tensorrt>=10.12,<12' on the machine with the GPU (libraries: pypi.nvidia.com)",
}
"""How each flavour is got."""
