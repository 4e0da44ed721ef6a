"""Small figures and a baseline of them."""

from __future__ import annotations

import dataclasses
from functools import partial

from pipeline.core.artifacts import Provenance
from pipeline.core.formats import Format
from pipeline.regress.baseline import Baseline, Bounds, Figures, Module, Output, Plan, Task
from tests.records import filled

WEIGHTS = Provenance(source="pypi:tiny==1.0", digest="a" * 64, licence="MIT", real=True)


def module(depth: int, **more: object) -> Module:
    given: dict[str, object] = {
        "depth": depth,
        "tensor": f"t{depth}",
        "format": Format.FP16,
        "sqnr_db": 60.0 - depth,
        "own_tensor": f"t{depth}",
        "own_format": Format.FP16,
        "own_db": 73.0,
        "compared": 2,
        "nodes": {f"n{depth}": "MatMul fp16, summed in fp32, by default"},
    }
    return filled(Module, given, more)


NORM = module(
    0,
    sqnr_db=65.0,
    own_db=float("inf"),
    own_format=Format.FP32,
    format=Format.FP32,
    nodes={"pow": "Pow fp32, by norm"},
)


def figures(**more: object) -> Figures:
    given: dict[str, object] = {
        "engine": "tiny",
        "passed": True,
        "weights": WEIGHTS,
        "policy": "sensitive",
        "low": Format.FP16,
        "samples": 8,
        "versions": {"tensorrt-rtx": "1.7.1.116", "torch": "2.13.0"},
        "processor": "EPYC, avx2",
        "graphs": {"exported": "1", "fp32": "2", "mixed": "3"},
        "casts": 4,
        "outputs": {"y": Output(sqnr_db=58.0, max_abs=0.01, passed=True)},
        "tasks": {"similarity": Task(reference=0.656, candidate=0.655, passed=True)},
        "modules": {"encoder.norm": NORM, "encoder.proj": module(1), "head": module(2)},
        "plans": {
            "8.6, 8.9": Plan(
                flavour="tensorrt-rtx",
                version="1.7.1.116",
                size=1_000_000,
                kernels={"function _gemm_mha_v2": 1, "fully_connected fc": 3},
                fused_attentions=1,
            )
        },
    }
    return filled(Figures, given, more)


BASELINE = Baseline(
    figures=figures(),
    bounds=Bounds(
        outputs={"y": 57.5},
        modules={"encoder.norm": 64.5, "encoder.proj": 58.5, "head": 57.5},
        own={"encoder.norm": 150.0, "encoder.proj": 70.0, "head": 70.0},
        tasks={"similarity": 0.0005},
        repeats=4,
        epsilon=1e-6,
    ),
)


def with_module(name: str, **changes: object) -> Figures:
    now = figures()
    return dataclasses.replace(
        now, modules={**now.modules, name: filled(partial(dataclasses.replace, now.modules[name]), {}, changes)}
    )


def with_plan(**changes: object) -> Figures:
    now = figures()
    (name, plan), *_ = now.plans.items()
    return dataclasses.replace(now, plans={name: filled(partial(dataclasses.replace, plan), {}, changes)})
