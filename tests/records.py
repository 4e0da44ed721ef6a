"""Small valid records, and one as large as a report gets, for tests of what is shown and shipped."""

from __future__ import annotations

import math
import random
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.core import digest
from pipeline.core.artifacts import (
    Budget,
    Change,
    Check,
    Confirmation,
    Decision,
    Direction,
    EnginePlan,
    EnginePlans,
    ErrorStats,
    Kept,
    Kernel,
    Layer,
    LostFusion,
    OnnxModel,
    Origin,
    Outcome,
    OutputVerdict,
    PlanText,
    PrecisionPlan,
    Provenance,
    Purchase,
    SearchPoint,
    SearchResult,
    TaskVerdict,
    ValidationReport,
    Weights,
)
from pipeline.core.formats import Format

R = TypeVar("R")

REAL = Provenance(source="pypi:tiny==1.0", digest="a" * 64, licence="Apache-2.0", real=True)
SEEDED = Provenance(source="seeded:0", digest="b" * 64, licence="Apache-2.0", real=False)
NODES = (("norm", "LayerNormalization", "encoder.norm", Format.FP32), ("proj", "MatMul", "encoder.proj", Format.FP16))


def filled(record: Callable[..., R], given: Mapping[str, object], more: Mapping[str, object]) -> R:
    """A record of the fields `given`, `more` over them."""
    return record(**{**given, **more})


def stats(sqnr_db: float = 70.0, **more: float | int) -> ErrorStats:
    relative = 10 ** (-sqnr_db / 20)
    given = {"elements": 64, "max_abs": relative, "relative_l2": relative, "cosine": 1.0, "sqnr_db": sqnr_db}
    return filled(ErrorStats, given, more)


def layer(node: str = "proj", /, **more: object) -> Layer:
    given: dict[str, object] = {
        "tensor": f"{node}_out",
        "node": node,
        "op": "MatMul",
        "module": "encoder.proj",
        "result": Format.FP16,
        "depth": 1,
        "stats": stats(),
        "floor_db": 62.0,
    }
    return filled(Layer, given, more)


def output(**more: object) -> OutputVerdict:
    given = {
        "name": "y",
        "origin": Origin.EMULATED,
        "stats": stats(60.0),
        "passed": True,
        "reason": "60.0 dB, floor 40 dB",
    }
    return filled(OutputVerdict, given, more)


def task(**more: object) -> TaskVerdict:
    given = {
        "metric": "similarity",
        "origin": Origin.EMULATED,
        "reference": 0.656,
        "candidate": 0.6559,
        "tolerance": 0.01,
        "samples": 1225,
        "passed": True,
        "reason": "worse by 0.0001, 0.01 allowed",
    }
    return filled(TaskVerdict, given, more)


def report(**more: object) -> ValidationReport:
    given: dict[str, object] = {
        "engine": "tiny",
        "passed": True,
        "failures": (),
        "provenance": REAL,
        "policy": "sensitive",
        "layers": tuple(
            layer(node, op=op, module=module, result=result, depth=depth)
            for depth, (node, op, module, result) in enumerate(NODES)
        ),
        "outputs": (output(),),
        "tasks": (task(),),
        "canonical": {"y": stats(120.0)},
        "samples": 8,
        "not_run": ("engine: no GPU on this machine",),
        "environment": {"onnxruntime-gpu": "1.31.1"},
    }
    return filled(ValidationReport, given, more)


def failed(**more: object) -> ValidationReport:
    bad = layer("proj", stats=stats(12.0), bad=True, reason="12.0 dB, 50.0 dB under the floor")
    given = {"passed": False, "failures": ("proj_out (MatMul in fp16): 12.0 dB",), "layers": (layer("norm"), bad)}
    return report(**{**given, **more})


def precision() -> PrecisionPlan:
    decisions = tuple(
        Decision(
            node=node,
            op=op,
            module=module,
            operands=result,
            accumulator=Format.FP32 if op == "MatMul" else None,
            result=result,
            rule="norm" if result is Format.FP32 else "default",
            reason="a normalisation sums squares" if result is Format.FP32 else "nothing speaks against fp16",
        )
        for node, op, module, result in NODES
    )
    return PrecisionPlan(model="c" * 64, policy="sensitive", low=Format.FP16, decisions=decisions)


def search() -> SearchResult:
    """A search over a few plans: a frontier with a knee, a broken plan, one that is overfitted, and the chosen one."""
    rows = (
        ("least fp32", 0.90, 0, math.inf, -math.inf, False),
        ("without norms", 0.92, 2, 0.02, 34.0, True),
        ("norms of encoder.layer.0 in fp32", 0.93, 4, 0.004, 48.0, True),
        ("default policy", 1.0, 20, 0.003, 50.5, True),
        ("everything in fp32", 2.6, 40, 1e-6, 120.0, True),
    )
    points = tuple(
        SearchPoint(
            label=label,
            cost=cost * 1e8,
            casts=2 * wide,
            fp32_nodes=wide,
            noise=noise,
            sqnr_db=sqnr,
            meets=meets,
            reason="" if meets else "y is not finite",
            frontier=meets,
            changes=(Change(group="norms of encoder.layer.0", direction=Direction.ADDED, nodes=("norm",)),) * (at > 0),
            since=at - 1 if at else None,
        )
        for at, (label, cost, wide, noise, sqnr, meets) in enumerate(rows)
    )
    return SearchResult(
        plan=precision(),
        outcome=Outcome.FOUND,
        budget=Budget(sqnr_db=30.0, atol=0.05, rtol=0.05, metric="similarity", worsening=0.01),
        cost_unit="byte equivalents",
        points=points,
        chosen=2,
        cheapest=1,
        resolution=9.2e5,
        default=3,
        knee=2,
        purchases=(
            Purchase(
                group="norms of encoder.layer.0",
                op_kind="norm",
                module="encoder.layer.0",
                nodes=2,
                in_plan=True,
                cost=1e6,
                sqnr_db=14.0,
                reason="without it y errs by 34.0 dB",
            ),
            Purchase(
                group="mask",
                op_kind="elementwise",
                module="",
                nodes=1,
                in_plan=True,
                cost=-2e5,
                sqnr_db=math.inf,
                reason="without it y is not finite",
            ),
        ),
        kept=(Kept(node="mask", rule="overflow", reason="-3.4e38 is beyond fp16"),),
        confirmations=(
            Confirmation(point=1, passed=False, reason="y: 28.0 dB, floor 30 dB", sqnr_db=28.0, samples=16),
            Confirmation(
                point=2,
                passed=True,
                reason="47.0 dB, floor 30 dB",
                sqnr_db=47.0,
                task_reference=0.656,
                task_candidate=0.6559,
                samples=16,
                task_samples=1225,
            ),
        ),
        trials=42,
        remembered=3,
        samples=32,
    )


def plan_bytes(version: tuple[int, int, int, int] = (1, 7, 1, 116), mask: int = 4 | 8, body: bytes = b"code") -> bytes:
    """What begins like a TensorRT-RTX plan (for 8.6 and 8.9), and holds nothing."""
    head = struct.pack("<4s12xQ4B4xI", b"vtrt", 64 + len(body), *version, mask)
    return head.ljust(64, b"\0") + body


def plans(path: Path, **more: object) -> EnginePlans:
    """One plan whose file is written to `path`."""
    path.write_bytes(plan_bytes())
    kernels = (
        Kernel(
            kind="function", name="_gemm_mha_v2", nodes=("proj",), accumulation=2, operands=("half",), results=("half",)
        ),
        Kernel(kind="runtime_fusion", name="norm_fusion", nodes=("norm",)),
    )
    given: dict[str, object] = {
        "path": path,
        "log": path,
        "flavour": "tensorrt-rtx",
        "version": "1.7.1.116",
        "targets": ("8.6", "8.9"),
        "digest": digest.of_file(path),
        "size": path.stat().st_size,
        "flags": ("STRONGLY_TYPED",),
        "tf32": False,
        "workspace_mib": 1024,
        "profiles": {"x": ((1, 16), (8, 16), (16, 16))},
        "text": PlanText(version="1.7.1.116", targets=("8.6", "8.9"), kernels=kernels),
        "checks": (
            Check(name="parsed", passed=True, summary="2 of 2 layers have the planned types"),
            Check(name="built", passed=True, summary="2 of 2 nodes in kernels", unobservable=("norm: no type",)),
        ),
        "warnings": (),
        "seconds": 2.5,
        "lost": (
            LostFusion(
                kernels=("norm_fusion",),
                nodes=("norm",),
                now=("a", "b"),
                more_kernels=1,
                more_bytes=2_000_000,
                decision="norm",
                rule="norm",
                reason="a normalisation sums squares",
            ),
        ),
    }
    return EnginePlans(plans=(filled(EnginePlan, given, more),))


MIXED = """
<ir_version: 10, opset_import: ["" : 20]>
tiny (float[batch, 16] x) => (float[batch, 16] y) {
    [norm] n = LayerNormalization<axis = -1, epsilon = 1e-5>(x, gain)
    ["cast::n::fp16"] "n::fp16" = Cast<to = 10>(n)
    [proj] "y::fp16" = MatMul("n::fp16", weight)
    ["cast::y"] y = Cast<to = 1>("y::fp16")
}
"""


def mixed(folder: Path, provenance: Provenance = REAL, seed: int = 0) -> OnnxModel:
    """A mixed model that `precision` describes, saved in `folder`."""
    import onnx
    import onnx_ir as ir

    from pipeline.graph import io

    random_ = np.random.default_rng(seed)
    proto = onnx.parser.parse_model(MIXED)
    for name, array in (
        ("gain", np.ones(16, np.float32)),
        ("weight", random_.standard_normal((16, 16)).astype(np.float16)),
    ):
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model = ir.from_proto(onnx.shape_inference.infer_shapes(proto))
    folder.mkdir(parents=True, exist_ok=True)
    return io.describe(model, io.save(model, folder), provenance=provenance)


def weights(folder: Path, provenance: Provenance = REAL) -> Weights:
    """A checkpoint with a tokenizer beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "vocab.txt", "tokenizer.pkl"):
        (folder / name).write_text(name)
    return Weights(folder=folder, checkpoint=folder, tokenizer=folder, provenance=provenance)


def large(count: int, *, passed: bool = False) -> tuple[ValidationReport, PrecisionPlan]:
    """A report of `count` layers with everything that a page must cope with."""
    chance = random.Random(0)
    ops = ("MatMul", "Add", "LayerNormalization", "Softmax", "Gelu", "Mul", "Reshape", "Transpose", "Div", "Sqrt")
    parts = ("attention.self.query", "attention.self", "attention.output.LayerNorm", "intermediate", "output.dense")
    layers, decisions = [], []
    for depth in range(count):
        op = ops[depth % len(ops)]
        block = depth * 24 // count
        module = f"encoder.layer.{block}.{parts[depth % len(parts)]}"
        node = f"node_{op}_{depth}"
        wide = op in ("LayerNormalization", "Softmax", "Sqrt")
        result = Format.FP32 if wide else Format.FP16
        layers.append(_large_layer(chance, depth, count, node, op, module, result, passed))
        decisions.append(
            Decision(
                node=node,
                op=op,
                module=module,
                operands=result,
                accumulator=Format.FP32 if op == "MatMul" else None,
                result=result,
                rule=f"{op}-rule" if wide else "default",
                reason=f"{op}: sums of {depth} squares reach 8.8e7" if wide else "largest value 26.5, margin 4",
            )
        )
    bad = [item for item in layers if item.bad]
    plan = PrecisionPlan(model="c" * 64, policy="sensitive", low=Format.FP16, decisions=tuple(decisions))
    verdict = report(
        engine="large <b>&amp;</b>",
        passed=passed,
        failures=tuple(f"{item.tensor} ({item.op} in {item.result}): {item.reason}" for item in bad),
        layers=tuple(layers),
        outputs=(output(name="last_hidden_state", passed=passed), output(name="pooled", stats=stats(48.2))),
        environment={"onnxruntime-gpu": "1.31.1", "torch": "2.13.0", "processor": "x86-64, 2 cores", "gpu": "none"},
    )
    return verdict, plan


def _large_layer(
    chance: random.Random, depth: int, count: int, node: str, op: str, module: str, result: Format, passed: bool
) -> Layer:
    tensor = f"{node}_output_0" if depth % 400 else f"</script><img src=x onerror=alert(1)>_{depth}"
    floor = 60 - 14 * depth / count
    common = {"tensor": tensor, "node": node, "op": op, "module": module, "result": result, "depth": depth}
    if depth % 97 == 96:
        return layer(**common, stats=None, floor_db=None, reason="fused away: constant after folding")
    if not passed and depth > 0.7 * count and depth % 211 == 0:
        broken = stats(math.nan, nan_candidate=3, mismatched_nonfinite=3)
        return layer(
            **common,
            stats=broken,
            floor_db=floor,
            bad=True,
            reason="3 NaN that the reference lacks: 512 values overflowed fp16",
        )
    if not passed and depth > 0.7 * count and depth % 53 == 0:
        return layer(
            **common, stats=stats(20 + chance.random() * 9), floor_db=floor, bad=True, reason="under the floor by 30 dB"
        )
    if depth < count * 0.02:
        return layer(**common, stats=stats(math.inf), floor_db=None)
    noise = 74 - 14 * depth / count + chance.gauss(0, 2.5)
    return layer(**common, stats=stats(noise), floor_db=floor)
