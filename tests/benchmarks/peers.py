"""Peers in virtual environments of their own: they pin other versions of what we use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(os.environ.get("TRT_PIPELINE_ROOT", Path(__file__).parents[2]))
FOLDER = ROOT / ".trt-pipeline" / "bench"
AUTOCAST = ["torch==2.13.0", "nvidia-modelopt[onnx]==0.47.0"]


def python_with(name: str, requirements: list[str]) -> Path:
    """The interpreter of a virtual environment with `requirements`, made on first use."""
    folder = FOLDER / f"venv-{name}"
    done = folder / ".installed"
    if not done.exists() or done.read_text().splitlines() != requirements:
        print(f"installing {' '.join(requirements)} …", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([folder / "bin" / "pip", "install", "--quiet", *requirements], check=True)
        done.write_text("\n".join(requirements) + "\n")
    return folder / "bin" / "python"
