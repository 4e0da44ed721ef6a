"""Print an artifact so that a person can read it."""

from __future__ import annotations

from collections import Counter
from functools import singledispatch

from rich.console import Console
from rich.text import Text

from pipeline.cli.screen import facts, grid
from pipeline.core.artifacts import (
    ActivationRanges,
    Bundle,
    Check,
    Compensated,
    EnginePlan,
    EnginePlans,
    FusionBaseline,
    OnnxModel,
    PlanText,
    PrecisionPlan,
    Provenance,
    Rescaled,
    Samples,
    SampleSet,
    SearchResult,
    TensorInfo,
    Weights,
)
from pipeline.report import grounds

MOST = 12
"""Rows of a long table that are shown; `--json` has them all."""


@singledispatch
def show(artifact: object, screen: Console) -> None:
    """Print `artifact` on `screen`.

    Raises:
        TypeError: Nothing is known about its type.
    """
    raise TypeError(f"no way to show a {type(artifact).__name__}")


@show.register
def _search(artifact: SearchResult, screen: Console) -> None:
    from pipeline.report import search_console

    search_console.show(screen, artifact)


@show.register
def _weights(artifact: Weights, screen: Console) -> None:
    facts(
        screen,
        [("checkpoint", artifact.checkpoint), ("tokenizer", artifact.tokenizer), *provenance(artifact.provenance)],
    )


@show.register
def _samples(artifact: Samples, screen: Console) -> None:
    sets = [("calibration", artifact.calibration), ("validation", artifact.validation), ("task", artifact.task)]
    rows = [(name, *_set_row(item)) for name, item in sets if item is not None]
    grid(screen, ["set", ">samples", ">batches", "source", "licence"], rows)
    if artifact.overlap:
        screen.print("[yellow]validation samples also served calibration: the set is small[/]")


def _set_row(item: SampleSet) -> tuple[object, ...]:
    return item.samples, len(item.batches), item.source, item.licence


@show.register
def _onnx(artifact: OnnxModel, screen: Console) -> None:
    facts(screen, [("onnx", artifact.path), ("opset", artifact.opset), *provenance(artifact.provenance)])
    ports = [("input", item) for item in artifact.inputs] + [("output", item) for item in artifact.outputs]
    grid(screen, ["", "name", "type", "shape"], [(side, *port(item)) for side, item in ports])
    gone = sum(fate.now is None for fate in artifact.fates)
    if artifact.fates:
        screen.print(f"{len(artifact.fates)} tensors were renamed or changed, {gone} of them are gone")
    checks(screen, artifact.checks)


@show.register
def _ranges(artifact: ActivationRanges, screen: Console) -> None:
    low = artifact.low
    worst = sorted(artifact.tensors.items(), key=lambda item: -item[1].magnitude)[:MOST]
    over = sum(item.overflow > 0 for item in artifact.tensors.values())
    facts(
        screen,
        [
            ("samples", artifact.samples),
            ("tensors", f"{len(artifact.tensors)} observed, {len(artifact.unobserved)} not"),
            ("overflow", f"{over} tensors hold values beyond {low} ({low.limits.largest:g})"),
        ],
    )
    rows = [(name, f"{item.magnitude:.4g}", item.overflow, item.nonfinite) for name, item in worst]
    grid(screen, ["largest tensors", ">magnitude", f">beyond {low}", ">NaN, inf"], rows)


@show.register
def _baseline(artifact: FusionBaseline, screen: Console) -> None:
    facts(
        screen,
        [
            ("attentions", f"{artifact.attentions} in the graph"),
            ("target", artifact.target),
            ("fused", None if artifact.plan is None else f"{artifact.plan.fused_attentions} kernels"),
            ("kernels", None if artifact.plan is None else len(artifact.plan.kernels)),
            ("no plan", artifact.reason),
        ],
    )


@show.register(type(None))
def _nothing(artifact: None, screen: Console) -> None:
    screen.print("not run: the spec or its policy does without this stage")


@show.register
def _compensated(artifact: Compensated, screen: Console) -> None:
    rows = [
        (item.node, item.module, f"{item.before_db:.2f}", f"{item.after_db:.2f}", item.refused or "corrected")
        for item in artifact.layers
    ]
    grid(screen, ["layer", "module", ">SQNR dB before", ">after", ""], rows, title="each layer by itself, held out")
    outputs = [(item.output, f"{item.before_db:.2f}", f"{item.after_db:.2f}") for item in artifact.outputs]
    grid(screen, ["output", ">SQNR dB before", ">after"], outputs, title=f"{artifact.samples} held-out samples")
    checks(screen, artifact.model.checks)


@show.register
def _rescaled(artifact: Rescaled, screen: Console) -> None:
    if not artifact.layers:
        screen.print("no linear layer leaves the low format's range: nothing to rescale")
        return
    rows = [
        (item.node, item.module, f"{item.magnitude:.4g}", f"2^{item.exponent}", item.refused or item.reason)
        for item in artifact.layers
    ]
    grid(screen, ["layer", "module", ">reached", ">held times", "what was done, or why not"], rows)
    checks(screen, () if artifact.equality is None else (artifact.equality,))


@show.register
def _precision(artifact: PrecisionPlan, screen: Console) -> None:
    facts(
        screen,
        [
            ("policy", artifact.policy),
            ("nodes", len(artifact.decisions)),
            ("rest on", grounds.summary(artifact)),
            *(("growing", line) for line in grounds.growing(artifact)),
            ("for graph", artifact.model[:16]),
        ],
    )
    rules = Counter((item.rule, str(item.result or "integer")) for item in artifact.decisions)
    example = {(item.rule, str(item.result or "integer")): item.reason for item in reversed(artifact.decisions)}
    rows = [(count, result, rule, example[rule, result]) for (rule, result), count in rules.most_common()]
    grid(screen, [">nodes", "result", "rule", "reason of the first"], rows)


@show.register
def _plans(artifact: EnginePlans, screen: Console) -> None:
    for plan in artifact.plans:
        _plan(plan, screen)


def _plan(artifact: EnginePlan, screen: Console) -> None:
    facts(
        screen,
        [
            ("plan", artifact.path),
            ("built by", f"{artifact.flavour} {artifact.version} in {artifact.seconds:.1f} s"),
            ("targets", ", ".join(artifact.targets)),
            ("size", f"{artifact.size / 1e6:.1f} MB, sha256 {artifact.digest[:16]}…"),
            ("flags", ", ".join(artifact.flags)),
            ("tf32", "allowed" if artifact.tf32 else "off"),
            ("workspace", f"{artifact.workspace_mib} MiB"),
        ],
    )
    if artifact.text is not None:
        show(artifact.text, screen)
    checks(screen, artifact.checks)


@show.register
def _text(artifact: PlanText, screen: Console) -> None:
    known = artifact.version is not None
    facts(
        screen,
        [
            ("version", artifact.version or "unknown: not one that was tested, so its kernels are not read"),
            ("targets", ", ".join(artifact.targets)),
            ("kernels", f"{len(artifact.kernels)}, {artifact.fused_attentions} fused attentions" if known else None),
        ],
    )
    names = Counter(f"{kernel.kind} {kernel.name}".strip() for kernel in artifact.kernels)
    if names:
        grid(screen, [">count", "kernel"], [(count, name) for name, count in names.most_common(MOST)])


@show.register
def _bundle(artifact: Bundle, screen: Console) -> None:
    facts(screen, [("bundle", artifact.folder), ("manifest", f"sha256 {artifact.digest}")])


def provenance(item: Provenance) -> list[tuple[str, object]]:
    """Rows about where weights come from."""
    seeded = None if item.real else Text("these are not the real weights; nothing made from them ships", "yellow")
    return [("weights", item.source), ("licence", item.licence), ("digest", item.digest[:16]), ("seeded", seeded)]


def port(item: TensorInfo) -> tuple[str, str, str]:
    """Name, type and shape of a graph input or output."""
    return item.name, item.dtype, " × ".join(str(dim) for dim in item.shape)


def checks(screen: Console, items: tuple[Check, ...]) -> None:
    """One line a check, and its problems."""
    for item in items:
        mark = Text("✓ ", "green") if item.passed else Text("✗ ", "red")
        screen.print(mark + Text(f"{item.name}: {item.summary}"))
        for problem in item.problems[:MOST]:
            screen.print(Text(f"    {problem}", "red"))
        if len(item.problems) > MOST:
            screen.print(Text(f"    and {len(item.problems) - MOST} more"))
