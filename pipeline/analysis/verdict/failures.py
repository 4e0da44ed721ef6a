"""Why a mixed graph or its plans did not pass, one line for each reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pipeline.core.artifacts import EnginePlan, Extreme, Layer, OutputVerdict, TaskVerdict

LISTED = 10
"""Bad layers that are listed one by one among the failures."""


def failures(
    layers: Sequence[Layer],
    outputs: Sequence[OutputVerdict],
    tasks: Sequence[TaskVerdict],
    plans: Iterable[EnginePlan],
    extremes: Iterable[Extreme],
) -> tuple[str, ...]:
    """Every reason, the first bad layer first; nothing compared is a reason too."""
    return (
        *_of_layers(layers),
        *(f"output {item.name} ({item.origin}): {item.reason}" for item in outputs if not item.passed),
        *(() if outputs else ("no output was compared",)),
        *(f"task {item.metric} ({item.origin}): {item.reason}" for item in tasks if not item.passed),
        *(line for plan in plans for line in _of_plan(plan)),
        *(line for item in extremes if not item.passed for line in _of_extreme(item)),
    )


def _of_layers(layers: Sequence[Layer]) -> Iterator[str]:
    bad = [layer for layer in layers if layer.bad]
    for layer in bad[:LISTED]:
        place = f"{layer.op} in {layer.module}" if layer.module else layer.op
        yield f"layer {layer.tensor} ({place}): {layer.reason}"
    if len(bad) > LISTED:
        yield f"{len(bad) - LISTED} more layers are bad"
    if not any(layer.stats is not None for layer in layers):
        yield "no layer was compared"


def _of_plan(plan: EnginePlan) -> Iterator[str]:
    for check in plan.checks:
        if not check.passed:
            yield f"plan for {', '.join(plan.targets)}: {check.name}: {check.summary}"


def _of_extreme(item: Extreme) -> Iterator[str]:
    rest = f", and {item.broken - 1} layers behind it" if item.broken > 1 else ""
    yield (
        f"extreme '{item.name}': {item.first} is NaN or infinite where the fp32 model is finite{rest} ({item.inputs})"
    )
