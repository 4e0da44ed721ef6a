"""What of this machine decides whether a plan loads; imports no runtime."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, field

from pipeline.core import device
from pipeline.core.device import Gpu

CUDA_MAJORS = (13, 12)
"""CUDA releases that NVIDIA builds its TensorRT distributions for, as their names end: `-cu13`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """An installed flavour of TensorRT.

    Attributes:
        version: Its version.
        cuda: Major version of CUDA that it was built for; None where its name does not tell.
    """

    version: str
    cuda: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One GPU, its driver, and the libraries beside it.

    Attributes:
        gpu: The GPU, or None.
        reason: Why there is none.
        cuda: Highest CUDA version that the driver supports, such as `13.0`.
        libraries: Installed flavours by name.
    """

    gpu: Gpu | None
    reason: str | None = None
    cuda: str | None = None
    libraries: dict[str, Library] = field(default_factory=dict)


def look(flavours: set[str], index: int) -> Machine:
    """Ask the driver, in a process of its own, for GPU `index`, and the environment for `flavours`."""
    found = device.probe()
    libraries = {name: library for name in sorted(flavours) if (library := _library(name)) is not None}
    if index < len(found.gpus):
        return Machine(gpu=found.gpus[index], cuda=found.cuda, libraries=libraries)
    reason = found.reason or f"there is no GPU {index}; this machine has {len(found.gpus)}"
    return Machine(gpu=None, reason=reason, cuda=found.cuda, libraries=libraries)


def _library(flavour: str) -> Library | None:
    for major in CUDA_MAJORS:
        if (version := _version(f"{flavour}-cu{major}")) is not None:
            return Library(version=version, cuda=major)
    plain = _version(flavour)
    return None if plain is None else Library(version=plain, cuda=None)


def _version(distribution: str) -> str | None:
    """Version of an installed distribution, as the library in it says it: without a packager's `.post1`."""
    try:
        return importlib.metadata.version(distribution).partition(".post")[0]
    except importlib.metadata.PackageNotFoundError:
        return None
