"""The manifest of a bundle from the artifacts that went into it."""

from __future__ import annotations

import importlib.metadata
import platform
from collections import Counter
from collections.abc import Mapping

from pipeline.bundle.manifest import Axis, File, Graph, Manifest, Plan, Precision, Verdict
from pipeline.bundle.provenance import Subject
from pipeline.core import digest
from pipeline.core.artifacts import (
    EnginePlan,
    EnginePlans,
    Invocation,
    OnnxModel,
    PrecisionPlan,
    Provenance,
    ValidationReport,
)
from pipeline.core.spec import AxisRange

VERSIONED = (
    "numpy",
    "nvidia-cuda-runtime",
    "nvidia-cuda-runtime-cu12",
    "nvidia-cuda-runtime-cu13",
    "onnx",
    "onnx-ir",
    "onnxruntime-gpu",
    "polygraphy",
    "tensorrt",
    "tensorrt-rtx",
    "torch",
    "transformers",
    "trt-pipeline",
)
"""Distributions whose versions a manifest names where they are installed."""


def plan_name(plan: EnginePlan) -> str:
    """Path of a plan in its bundle, such as `tensorrt-rtx-sm86-sm89-sm120.plan`."""
    targets = "-".join(_target_name(target) for target in plan.targets)
    return f"{plan.flavour}-{targets}.plan"


def plan(item: EnginePlan) -> Plan:
    """A plan's row of the manifest."""
    readable = item.text is not None and item.text.version is not None
    return Plan(
        path=plan_name(item),
        flavour=item.flavour,
        version=item.version,
        targets=item.targets,
        flags=item.flags,
        tf32=item.tf32,
        workspace_mib=item.workspace_mib,
        profiles=item.profiles,
        kernels=len(item.text.kernels) if item.text is not None and readable else None,
        fused_attentions=item.text.fused_attentions if item.text is not None and readable else None,
    )


def graph(
    mixed: OnnxModel,
    emulated: str,
    axes: Mapping[str, AxisRange],
    subjects: Mapping[str, str],
    *,
    names_stripped: bool,
) -> Graph:
    """The mixed graph's part of the manifest.

    Args:
        mixed: The graph.
        emulated: Path of its emulation in the bundle.
        axes: Sizes of every dynamic axis.
        subjects: Digests of what was validated.
        names_stripped: Whether its nodes and tensors carry ordinals.
    """
    return Graph(
        path=mixed.path.name,
        digest=subjects["mixed"],
        emulated=emulated,
        exported=subjects["exported"],
        opset=mixed.opset,
        inputs=mixed.inputs,
        outputs=mixed.outputs,
        axes={name: Axis(min=size.min, opt=size.opt, max=size.max) for name, size in axes.items()},
        names_stripped=names_stripped,
    )


def precision(plan: PrecisionPlan, path: str) -> Precision:
    """The precision plan's part of the manifest."""
    nodes = Counter("integer" if item.result is None else str(item.result) for item in plan.decisions)
    return Precision(
        path=path, policy=plan.policy, low=str(plan.low), reference=plan.model, nodes=dict(sorted(nodes.items()))
    )


def verdict(report: ValidationReport, overridden: tuple[str, ...]) -> Verdict:
    """The verdict's part of the manifest."""
    return Verdict(
        passed=report.passed,
        samples=report.samples,
        layers=len(report.layers),
        compared=sum(layer.stats is not None for layer in report.layers),
        outputs=report.outputs,
        tasks=report.tasks,
        not_run=report.not_run,
        overridden=overridden,
    )


def sources(weights: Provenance, tokenizer: Provenance | None) -> dict[str, Provenance]:
    """Where what the bundle holds comes from, by what it is."""
    return {"weights": weights} if tokenizer is None else {"weights": weights, "tokenizer": tokenizer}


def timings(plans: EnginePlans) -> dict[str, dict[str, float | str | None]]:
    """What was measured while the plans were built: no part of what can be reproduced."""
    return {
        plan_name(item): {
            "build_seconds": round(item.seconds, 3),
            "timing_cache_sha256": None if item.timing_cache is None else digest.of_file(item.timing_cache),
        }
        for item in plans.plans
    }


def subject(record: Manifest, files: Mapping[str, File], invocation: Invocation, graphs: Mapping[str, str]) -> Subject:
    """What the provenance of a bundle is about."""
    return Subject(
        engine=record.engine,
        files=files,
        invocation=invocation,
        weights=record.weights,
        tokenizer=record.tokenizer,
        graphs=graphs,
        versions=record.versions,
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the distributions in `VERSIONED` that are installed."""
    found = {"python": platform.python_version()}
    for name in VERSIONED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _target_name(target: str) -> str:
    major, _, minor = target.partition(".")
    return f"sm{major}{minor}" if minor.isdigit() else target
