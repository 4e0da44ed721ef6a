"""Compare every tensor of a model with itself over some batches: the process that `layers` measures."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline.analysis.comparison.compare import compare
from pipeline.core.progress import Silent
from pipeline.core.spec import InputSpec
from pipeline.graph import io


def main(model: Path, batches: tuple[Path, ...]) -> None:
    """Fail unless every float tensor was compared and none differs."""
    inputs = {
        str(value.name): InputSpec(dtype="int64", axes=("batch", "sequence")) for value in io.load(model).graph.inputs
    }
    compared, gaps = compare(io.load(model), io.load(model), (), batches, inputs, Silent())
    differing = [name for name, found in compared.items() if found.kept.stats().max_abs != 0]
    print(f"{len(compared)} tensors compared, {len(differing)} differ, {len(gaps)} not compared")
    if not compared or differing or gaps:
        sys.exit(f"expected every tensor alike, got {differing[:3]} and {list(gaps)[:3]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(map(Path, sys.argv[2:])))
