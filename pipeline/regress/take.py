"""The figures of a run: what is compared with a baseline, and what becomes one."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import onnx_ir as ir

from pipeline.core import digest
from pipeline.core.artifacts import Decision, EnginePlan, Layer, Origin, PrecisionPlan, ValidationReport
from pipeline.core.formats import Format
from pipeline.flow import Results
from pipeline.graph import io
from pipeline.regress.baseline import Figures, Module, Output, Plan, Task

DIGITS = 3
"""Decimals of a decibel that are kept."""

EXTENSIONS = ("avx2", "avx512f", "amx_tile")
"""Instruction sets that decide in which order ONNX Runtime sums."""


def figures(results: Results) -> Figures:
    """The figures of a run that reached validation."""
    report: ValidationReport = results.artifact("validate")
    plan: PrecisionPlan = results.plan
    models = {"exported": results.artifact("export"), "fp32": results.artifact("canonicalise"), "mixed": results.mixed}
    graphs = {name: io.load(model.path) for name, model in models.items()}
    return Figures(
        engine=report.engine,
        passed=report.passed,
        weights=report.provenance,
        policy=report.policy,
        low=plan.low,
        samples=report.samples,
        versions=_versions(),
        processor=processor(),
        graphs={name: _structure(model) for name, model in graphs.items()},
        casts=sum(node.op_type == "Cast" for node in graphs["mixed"].graph.all_nodes()),
        outputs={
            item.name: Output(sqnr_db=round(item.stats.sqnr_db, DIGITS), max_abs=item.stats.max_abs, passed=item.passed)
            for item in report.outputs
            if item.origin is Origin.EMULATED
        },
        tasks={
            item.metric: Task(reference=item.reference, candidate=item.candidate, passed=item.passed)
            for item in report.tasks
            if item.origin is Origin.EMULATED
        },
        modules=_modules(report.layers, plan.decisions),
        plans={", ".join(item.targets): _plan(item) for item in results.artifact("build").plans},
    )


def processor() -> str:
    """The processor's name and the instruction sets that matter here; "unknown" where Linux does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set(said.get("flags", "").split())
    found = [name for name in EXTENSIONS if name in flags]
    return f"{said.get('model name', 'unknown')}, {', '.join(found) or 'no AVX2'}, {os.cpu_count()} threads"


def noise(sqnr_db: float) -> float:
    """Noise-to-signal ratio in power of an SQNR in dB; NaN stays NaN."""
    return float(10.0 ** (-sqnr_db / 10.0))


def _versions() -> dict[str, str]:
    from pipeline.bundle import describe

    return describe.versions()


def _structure(model: ir.Model) -> str:
    """Digest of nodes, their connections and the types of their results; weights and shapes do not enter."""
    nodes = [
        [
            node.name,
            node.domain,
            node.op_type,
            [None if value is None else value.name for value in node.inputs],
            [[value.name, None if value.dtype is None else value.dtype.name] for value in node.outputs],
        ]
        for node in model.graph.all_nodes()
    ]
    return digest.of_value(nodes)


def _modules(layers: Iterable[Layer], decisions: Iterable[Decision]) -> dict[str, Module]:
    by_module: dict[str, list[Layer]] = {}
    for layer in layers:
        by_module.setdefault(layer.module, []).append(layer)
    nodes: dict[str, dict[str, str]] = {}
    for item in decisions:
        if item.result is not None:
            nodes.setdefault(item.module, {})[item.node] = _words(item)
    return {module: _module(found, nodes.get(module, {})) for module, found in by_module.items()}


def _module(layers: list[Layer], nodes: dict[str, str]) -> Module:
    compared = [layer for layer in layers if layer.stats is not None]
    worst = min(compared, key=_sqnr, default=None)
    own = min((layer for layer in compared if layer.injected is not None), key=_own, default=None)
    return Module(
        depth=layers[0].depth,
        tensor=None if worst is None else worst.tensor,
        format=Format.FP32 if worst is None else worst.result,
        sqnr_db=math.inf if worst is None else round(_sqnr_db(worst), DIGITS),
        own_tensor=None if own is None else own.tensor,
        own_format=Format.FP32 if own is None else own.result,
        own_db=math.inf if own is None else round(_own_db(own), DIGITS),
        compared=len(compared),
        nodes=nodes,
    )


def _sqnr(layer: Layer) -> float:
    """For sorting: NaN first."""
    return _worst_first(_sqnr_db(layer))


def _own(layer: Layer) -> float:
    return _worst_first(_own_db(layer))


def _own_db(layer: Layer) -> float:
    """What a node's own error leaves; nothing where it makes non-finite values that its reference lacks."""
    assert layer.injected is not None  # chosen so
    return -math.inf if layer.injected.nonfinite else layer.injected.sqnr_db


def _worst_first(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _sqnr_db(layer: Layer) -> float:
    assert layer.stats is not None  # chosen so
    return layer.stats.sqnr_db


def _words(item: Decision) -> str:
    """A decision in one line: operator, formats, rule."""
    operands = item.operands or item.result
    change = str(operands) if operands is item.result else f"{operands} to {item.result}"
    total = f", summed in {item.accumulator}" if item.accumulator not in (None, operands) else ""
    return f"{item.op} {change}{total}, by {item.rule}"


def _plan(item: EnginePlan) -> Plan:
    known = item.text is not None and item.text.version is not None
    kernels = item.text.kernels if item.text is not None and known else ()
    counts = Counter(f"{kernel.kind} {kernel.name}".strip() for kernel in kernels)
    return Plan(
        flavour=item.flavour,
        version=item.version,
        size=item.size,
        kernels=dict(sorted(counts.items())) if known else None,
        fused_attentions=sum(kernel.fused_attention for kernel in kernels) if known else None,
    )
