"""A fault planted in bert-base: one weight scaled so that one layer overflows in fp16; found, named and mended.

Outputs are held to the default tolerances on 8 x 128 tokens; everything rounds to fp16.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir

from pipeline.analysis.observe import observe
from pipeline.core import serde
from pipeline.core.artifacts import ActivationRanges, OnnxModel
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.graph import io, modules
from tests.benchmarks.bert import Subject, subject
from tests.benchmarks.measure import Cost, measure
from tests.benchmarks.peers import FOLDER

TITLE = "a planted overflow in bert-base found, named and mended, 8 x 128 tokens, process start to end"
LAYER = "encoder.layer.6.intermediate.dense"
FACTOR = 3e5


def run() -> dict[str, Cost]:
    """Cost of finding the fault.

    Raises:
        SystemExit: Something else was found than what was planted.
    """
    given = subject()
    record, ranges = _planted(given)
    log = FOLDER / "planted.log"
    cost = measure([sys.executable, "-m", "tests.benchmarks.planted_ours", record, ranges, given.batch], log=log)
    found = json.loads(log.read_text().splitlines()[-1])
    print(f"tried {found['tries']} times; back to fp32: {', '.join(found['returned'])}", flush=True)
    if found["planted"] not in found["returned"] or not found["passed"]:
        sys.exit(f"planted {found['planted']} and found {found['returned']}; see {log}")
    return {"trt-pipeline bisect": cost}


def _planted(given: Subject) -> tuple[Path, Path]:
    """The model with its fault, and the ranges that calibration gives for it, as records."""
    folder = FOLDER / "planted"
    folder.mkdir(parents=True, exist_ok=True)
    model = io.load(given.model.path)
    product = product_of(model)
    weight = product.inputs[1]
    assert weight is not None
    assert weight.const_value is not None
    scaled = weight.const_value.numpy().copy()
    scaled[:, 0] *= np.float32(FACTOR)
    weight.const_value = ir.tensor(scaled, name=weight.name)
    path = io.save(model, folder)
    saved = io.describe(model, path, provenance=given.model.provenance)
    tensors, unobserved = observe(path, (given.batch,), Format.FP16, Silent())
    ranges = ActivationRanges(
        model=io.model_digest(saved), samples=8, low=Format.FP16, tensors=tensors, unobserved=unobserved
    )
    (folder / "model.json").write_text(serde.dumps(saved))
    (folder / "ranges.json").write_text(serde.dumps(ranges))
    return folder / "model.json", folder / "ranges.json"


def product_of(model: ir.Model) -> ir.Node:
    """The matrix product of `LAYER`."""
    return next(node for node in model.graph if node.op_type == "MatMul" and modules.module_of(node) == LAYER)


def load(record: Path) -> OnnxModel:
    """A model's record."""
    return serde.loads(OnnxModel, record.read_bytes())
