"""What this machine can build and run, and what is missing, for `trt-pipeline doctor`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass

from pipeline.backends.tensorrt import flavour
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.core import device
from pipeline.core.device import Devices

_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        subject: What: `GPU`, `TensorRT-RTX`, …
        available: Whether it can be used here.
        detail: Name and version of what was found, or why it cannot be used.
        remedy: How to get it; None where nothing is missing or nothing can be done.
    """

    subject: str
    available: bool
    detail: str
    remedy: str | None = None


def examine() -> tuple[Finding, ...]:
    """Look for a GPU and both flavours of TensorRT, and say what follows. Loads them in processes of their own."""
    devices = device.probe()
    rtx_library = _library("TensorRT-RTX", Flavour.RTX)
    library = _library("TensorRT", Flavour.TENSORRT)
    rtx = rtx_library.detail if rtx_library.available else None
    tensorrt = library.detail if library.available else None
    return (
        _gpu(devices),
        rtx_library,
        library,
        _named_targets(rtx),
        _gpu_target(devices, tensorrt),
        _engines(devices, rtx, tensorrt),
    )


def _gpu(devices: Devices) -> Finding:
    if not devices.gpus:
        remedy = "not needed to build for named targets; to run engines, use a machine with an NVIDIA GPU and driver"
        return Finding(subject="GPU", available=False, detail=devices.reason or "none found", remedy=remedy)
    listed = ", ".join(
        f"{gpu.name} (compute capability {gpu.capability}, {gpu.memory_bytes / 2**30:.0f} GiB)" for gpu in devices.gpus
    )
    return Finding(subject="GPU", available=True, detail=f"{listed}; driver supports CUDA {devices.cuda}")


def _library(subject: str, kind: Flavour) -> Finding:
    if flavour.version(kind) is None:
        return Finding(subject=subject, available=False, detail="not installed", remedy=flavour.HINTS[kind])
    command = [sys.executable, "-c", f"import {kind.module} as trt; print(trt.__version__)"]
    try:
        loaded = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        detail = f"installed, but did not load within {_TIMEOUT_S} s"
        return Finding(subject=subject, available=False, detail=detail, remedy=flavour.HINTS[kind])
    if loaded.returncode != 0:
        last = (loaded.stderr.strip().splitlines() or [f"exit status {loaded.returncode}"])[-1]
        detail = f"installed, but does not load: {last}"
        return Finding(subject=subject, available=False, detail=detail, remedy=flavour.HINTS[kind])
    return Finding(subject=subject, available=True, detail=loaded.stdout.strip())


def _named_targets(rtx: str | None) -> Finding:
    subject = "build for named targets"
    if rtx is None:
        return Finding(subject=subject, available=False, detail="needs TensorRT-RTX", remedy=flavour.HINTS[Flavour.RTX])
    return Finding(subject=subject, available=True, detail="compute capabilities 7.5 to 12.1, no GPU needed")


def _gpu_target(devices: Devices, tensorrt: str | None) -> Finding:
    subject = "build for this GPU"
    missing = [*([] if devices.gpus else ["a GPU"]), *([] if tensorrt else ["TensorRT"])]
    if missing:
        remedy = flavour.HINTS[Flavour.TENSORRT] if devices.gpus else None
        return Finding(subject=subject, available=False, detail=f"needs {' and '.join(missing)}", remedy=remedy)
    return Finding(subject=subject, available=True, detail=f"target 'gpu' with TensorRT {tensorrt}")


def _engines(devices: Devices, rtx: str | None, tensorrt: str | None) -> Finding:
    subject = "run engines"
    if not devices.gpus:
        detail = "needs a GPU; without one, validation is on the emulated graph and says so"
        return Finding(subject=subject, available=False, detail=detail)
    loadable = [name for name, version in (("TensorRT-RTX", rtx), ("TensorRT", tensorrt)) if version]
    if not loadable:
        detail = "needs TensorRT or TensorRT-RTX"
        return Finding(subject=subject, available=False, detail=detail, remedy=flavour.HINTS[Flavour.RTX])
    return Finding(subject=subject, available=True, detail=f"plans of {' and '.join(loadable)}")
