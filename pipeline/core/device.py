"""What GPU this machine has, asked of the driver in a process of its own.

Nothing of TensorRT is touched: on its lean and dispatch wheels a Runtime made without a GPU segfaults at its first use.
The probe loads `libcuda.so.1` alone, and a probe that crashes or hangs means that there is no GPU to use.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_TIMEOUT_S = 30
_DRIVER = Path("/sys/module/nvidia/version")

_PROBE = """
import ctypes, json
cuda = ctypes.CDLL("libcuda.so.1")
def ask(name, *arguments):
    status = getattr(cuda, name)(*arguments)
    if status:
        raise SystemExit(f"{name} answered CUDA error {status}")
ask("cuInit", 0)
count, driver = ctypes.c_int(), ctypes.c_int()
ask("cuDriverGetVersion", ctypes.byref(driver))
ask("cuDeviceGetCount", ctypes.byref(count))
found = []
for index in range(count.value):
    device, name, memory = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
    capability = [ctypes.c_int(), ctypes.c_int()]
    ask("cuDeviceGet", ctypes.byref(device), index)
    ask("cuDeviceGetName", name, len(name), device)
    ask("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    for attribute, value in zip((75, 76), capability):
        ask("cuDeviceGetAttribute", ctypes.byref(value), attribute, device)
    found.append({"name": name.value.decode(), "memory_bytes": memory.value,
                  "capability": f"{capability[0].value}.{capability[1].value}"})
print(json.dumps({"cuda": f"{driver.value // 1000}.{driver.value % 1000 // 10}", "gpus": found}))
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One NVIDIA GPU.

    Attributes:
        name: Its name, as the driver gives it.
        capability: Compute capability, such as `8.9`.
        memory_bytes: Its memory.
    """

    name: str
    capability: str
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """The GPUs of this machine.

    Attributes:
        gpus: Those that can be used; empty where there are none.
        cuda: Highest CUDA version that the driver supports, or None without a driver.
        driver: Version of the driver, or None where the system does not say.
        reason: Why there are none.
    """

    gpus: tuple[Gpu, ...]
    cuda: str | None = None
    driver: str | None = None
    reason: str | None = None


def probe() -> Devices:
    """Ask the driver, without loading anything into this process."""
    command = [sys.executable, "-I", "-c", _PROBE]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Devices(gpus=(), reason=f"the NVIDIA driver did not answer within {_TIMEOUT_S} s")
    if result.returncode != 0:
        return Devices(gpus=(), reason=_reason(result.returncode, result.stderr))
    answer = json.loads(result.stdout)
    gpus = tuple(Gpu(**gpu) for gpu in answer["gpus"])
    reason = None if gpus else "the NVIDIA driver lists no GPU"
    return Devices(gpus=gpus, cuda=answer["cuda"], driver=_driver(), reason=reason)


def _driver() -> str | None:
    return _DRIVER.read_text().strip() if _DRIVER.is_file() else None


def _reason(status: int, stderr: str) -> str:
    last = (stderr.strip().splitlines() or [""])[-1]
    if "libcuda.so.1" in last:
        return "no NVIDIA driver (libcuda.so.1 is not there)"
    if status < 0:
        return f"the NVIDIA driver crashed with signal {-status}"
    return f"the NVIDIA driver cannot be used: {last}"
