"""mark: one precision decision a node, with its rule and its reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.artifacts import (
    ActivationRanges,
    Decision,
    FusionBaseline,
    Growing,
    OnnxModel,
    PrecisionPlan,
    SourceTree,
)
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, InputSpec, PrecisionSpec
from pipeline.core.stage import stage

if TYPE_CHECKING:
    from pipeline.precision.evidence import Evidence

SHOWN = 3
"""Tensors that a warning names."""


@stage(version=1, rooms=("precision", "graph"), tools=("onnx", "onnx-ir", "numpy"))
def mark(
    reference: OnnxModel,
    ranges: ActivationRanges,
    baseline: FusionBaseline,
    precision: PrecisionSpec,
    engine: SourceTree,
    inputs: dict[str, InputSpec] | None = None,
    axes: dict[str, AxisRange] | None = None,
    targets: tuple[str, ...] = (),
    *,
    out: Path,
    progress: Progress,
) -> PrecisionPlan:
    """Decide the precision of every node of `reference`.

    Args:
        reference: The canonical fp32 model.
        ranges: What its tensors held in calibration.
        baseline: Fused attentions of the all-low plan, which the decisions must not break.
        precision: How precision is decided.
        engine: Folder of `engine.toml`, in which a policy file lies.
        inputs: Graph inputs, with their masks and ranges: what bounds of tensors start from.
        axes: Sizes of every dynamic axis.
        targets: Compute capabilities that the plan is for.
        out: Unused: a plan is a record without files.
        progress: Told of attentions that the decisions break up, of tensors that calibration saw too little of, and
            of formats that a target lacks.

    Returns:
        One decision a node, in graph order.

    Raises:
        CalibrationError: `ranges` were observed on another model, or for another low format, or left the range of an
            input.
        SpecError: The policy file is wrong.
        PrecisionError: A pattern matches nothing.
    """
    from pipeline.graph import io
    from pipeline.precision import evidence
    from pipeline.precision.bounds import Given
    from pipeline.precision.policy import growth, policies, policy_file
    from pipeline.precision.targets import possible

    model = io.load(reference.path)
    digest = io.model_digest(reference)
    evidence.require_same_model(ranges, digest, precision)
    precision, lacking = possible(precision, targets)
    if lacking is not None:
        progress.warn(lacking)
    seen = evidence.gather(model, ranges, precision, Given.of(inputs or {}, axes or {}))
    settings = policy_file.settings(precision, engine.folder)
    decisions = policies.decide(seen, settings, reference.given)
    _warn_of_broken_attention(seen, decisions, baseline, progress)
    growing = growth.growing(seen, decisions, ranges)
    _warn_of_growth(growing, ranges, progress)
    return PrecisionPlan(model=digest, policy=settings.name, low=precision.low, decisions=decisions, growing=growing)


def _warn_of_growth(growing: tuple[Growing, ...], ranges: ActivationRanges, progress: Progress) -> None:
    """Name the tensors that calibration may not have seen at their largest."""
    if growing:
        first = growing[0]
        names = ", ".join(item.tensor for item in growing[:SHOWN])
        more = f" and {len(growing) - SHOWN} more" if len(growing) > SHOWN else ""
        progress.warn(
            f"{ranges.samples} calibration samples may be too few: the ranges of {names}{more} still grew in the last "
            f"half ({first.tensor} to {first.magnitudes[-1]:.3g}, the limit is {first.limit:g}); "
            "raise calibration.samples"
        )


def _warn_of_broken_attention(
    seen: Evidence, decisions: tuple[Decision, ...], baseline: FusionBaseline, progress: Progress
) -> None:
    """Name the attentions that the all-low plan fuses and this plan cannot: a product of theirs is not low."""
    if baseline.plan is None or baseline.plan.fused_attentions == 0:
        return
    by_node = {decision.node: decision for decision in decisions}
    for core in seen.cores:
        for product in (by_node[str(core.scores.name)], by_node[str(core.values.name)]):
            if (product.accumulator or product.operands) is not seen.low:
                progress.warn(
                    f"attention {core.softmax.name} will not be fused, because of {product.node}: {product.reason}"
                )
