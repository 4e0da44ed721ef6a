"""A clone with one small engine of its own: a callable with a LayerNorm, an attention and an MLP."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SPEC = """
description = "one encoder block, seeded here as if it were trained"

[model]
source = "callable"
callable = "model.py:load"
outputs = ["y"]
weights = { path = "engines/tiny/weights", licence = "CC0-1.0" }

[inputs.x]
dtype = "float32"
axes = ["batch", "sequence", 64]

[axes]
batch = { min = 1, opt = 2, max = 4 }
sequence = { min = 1, opt = 16, max = 32 }

[calibration]
samples = 4
batch = 2
validate_samples = 2
data = { reader = "npz", path = "engines/tiny/data", licence = "CC0-1.0" }

[build]
targets = ["8.9"]
"""

MODEL = """
from pathlib import Path

import torch


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = torch.nn.LayerNorm(64)
        self.qkv = torch.nn.Linear(64, 192)
        self.out = torch.nn.Linear(64, 64)
        self.mlp = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.GELU(), torch.nn.Linear(128, 64))

    def forward(self, x):
        batch, sequence, _ = x.shape
        q, k, v = (
            part.reshape(batch, sequence, 2, 32).transpose(1, 2) for part in self.qkv(self.norm(x)).chunk(3, dim=-1)
        )
        scores = torch.softmax(q @ k.transpose(-1, -2) / 32**0.5, dim=-1)
        x = x + self.out((scores @ v).transpose(1, 2).reshape(batch, sequence, 64))
        return x + self.mlp(x)


def load(weights: Path):
    torch.manual_seed(0)
    module = Block()
    module.load_state_dict(torch.load(weights / "block.pt", weights_only=True))
    return module, {"x": torch.randn(2, 16, 64)}
"""

WEIGHTS = """
import sys
import torch

sys.path.insert(0, sys.argv[1])
import model

torch.manual_seed(0)
torch.save(model.Block().state_dict(), sys.argv[2])
"""


@dataclass(frozen=True)
class Clone:
    root: Path

    @property
    def engine(self) -> Path:
        return self.root / "engines" / "tiny"

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "pipeline.cli", *words]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "TRT_PIPELINE_ROOT": str(self.root)}

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), env=self.environment, capture_output=True, text=True, check=False)

    def kill_in(self, stage: str, *words: str) -> bool:
        """Start a command and kill it while `stage` is at work; False if the command ended before that."""
        process = subprocess.Popen(
            self.command(*words),
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while not list((self.root / ".trt-pipeline" / "partial").glob(f"{stage}-*")):
            if process.poll() is not None:
                return False
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True

    def core(self, build: str = "build") -> dict[str, bytes]:
        """The part of the bundle that is reproducible: what was measured and where it came from apart."""
        folder = self.engine / build / "bundle"
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        measured = ("attestation/", "manifest.json")
        return {name: path.read_bytes() for name, path in files.items() if not name.startswith(measured)}


def make_clone(root: Path) -> Clone:
    engine = root / "engines" / "tiny"
    (engine / "data").mkdir(parents=True)
    (engine / "weights").mkdir()
    (engine / "engine.toml").write_text(SPEC)
    (engine / "model.py").write_text(MODEL)
    subprocess.run([sys.executable, "-c", WEIGHTS, engine, engine / "weights" / "block.pt"], check=True)
    random = np.random.default_rng(0)
    for index in range(6):
        np.savez(engine / "data" / f"{index}.npz", x=random.standard_normal((1, 16, 64), dtype=np.float32))
    return Clone(root)


def run_in(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a clone."""
    environment = {**os.environ, "TRT_PIPELINE_ROOT": str(root)}
    command = [sys.executable, "-m", "pipeline.cli", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=root)
