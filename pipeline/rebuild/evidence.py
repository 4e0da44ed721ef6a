"""What a new plan is held to before it joins a bundle that was validated without it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.bundle import describe
from pipeline.bundle.manifest import Manifest
from pipeline.bundle.opening import Opened
from pipeline.core.artifacts import Check, EnginePlan
from pipeline.core.errors import BackendUnavailable, InputError
from pipeline.core.progress import Progress
from pipeline.runtime import fit, interface, machine, timing
from pipeline.runtime.arrays import Array

SLACK_DB = 6.0
"""How much further the engine may be from its emulation than the emulation was from fp32 when it was validated."""

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Shares fell sharply on Tuesday after the central bank raised its rate by half a point, the third time this year.",
    "Please call me back.",
)
"""Inputs where the bundle has a tokenizer; all that is asked of them is that they are text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check of one new plan.

    Attributes:
        plan: Path of the plan in the bundle.
        check: What was checked and what came of it.
    """

    plan: str
    check: Check


def of_build(plans: tuple[EnginePlan, ...]) -> tuple[Finding, ...]:
    """The checks of delivered precision: what TensorRT parsed, what it built, and which attentions it fused."""
    return tuple(Finding(plan=describe.plan_name(plan), check=_named(check)) for plan in plans for check in plan.checks)


def _named(check: Check) -> Check:
    """The check of fusions, said as it was made here: against the plan that was shipped, not the all-low one."""
    return dataclasses.replace(check, summary=check.summary.replace("all-low plan", "shipped plan"))


def of_runs(bundle: Opened, plans: tuple[EnginePlan, ...], progress: Progress) -> tuple[Finding, ...]:
    """Run each new plan that fits this machine, and compare its outputs with those of the bundle's emulation.

    Args:
        bundle: The bundle with the new plans in it.
        plans: The new plans.
        progress: Told what is run.
    """
    rows = {plan.path: plan for plan in bundle.manifest.plans}
    found = machine.look({plan.flavour for plan in plans}, 0)
    findings = []
    for name in map(describe.plan_name, plans):
        if misfits := fit.problems(rows[name], found):
            check = _not_run(misfits)
        else:
            progress.note(f"comparing {name} with its emulation")
            check = _run(bundle, name)
        findings.append(Finding(plan=name, check=check))
    return tuple(findings)


def _not_run(misfits: tuple[str, ...]) -> Check:
    return Check(
        name="engine",
        passed=True,
        summary=f"not run here: {misfits[0]}",
        unobservable=(f"what the engine computes: {'; '.join(misfits)}",),
    )


def _run(bundle: Opened, name: str) -> Check:
    from pipeline.runtime.load import emulation, native

    problems: list[str] = []
    worst = math.inf
    with native(bundle, plan=name) as engine, emulation(bundle) as emulated:
        cases = _cases(bundle)
        for case, feeds in cases.items():
            expected, outputs = emulated.run(feeds), engine.run(feeds)
            for output, floor in _floors(bundle.manifest).items():
                found = sqnr_db(expected[output], outputs[output])
                worst = min(worst, found)
                if not found >= floor:
                    problems.append(
                        f"{output} on {case}: {found:.1f} dB from its emulation, at least {floor:.1f} asked"
                    )
    return Check(
        name="engine",
        passed=not problems,
        summary=f"run on {len(cases)} batches, at worst {worst:.1f} dB from the emulation",
        problems=tuple(problems),
    )


def sqnr_db(reference: Array, candidate: Array) -> float:
    """Signal-to-noise ratio of `candidate`; NaN where a value is not finite in one of them alone."""
    signal, given = reference.astype(np.float64), candidate.astype(np.float64)
    finite = np.isfinite(signal)
    if not np.array_equal(finite, np.isfinite(given)):
        return math.nan
    noise = float(np.sum((signal[finite] - given[finite]) ** 2))
    power = float(np.sum(signal[finite] ** 2))
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(power / noise) if power > 0.0 else -math.inf


def _floors(manifest: Manifest) -> dict[str, float]:
    """By output: the SQNR that validation found for the emulation, less the slack."""
    floors = {item.name: item.stats.sqnr_db - SLACK_DB for item in manifest.verdict.outputs}
    return {item.name: floors.get(item.name, 0.0) for item in manifest.graph.outputs}


def _cases(bundle: Opened) -> Mapping[str, Mapping[str, Array]]:
    from pipeline.runtime import text, tokenizer

    takes = interface.of_graph(bundle.manifest.graph)
    cases = {name: timing.feeds(takes, timing.shapes_of(takes, name)) for name in ("min", "opt")}
    try:
        texts = TEXTS[: takes.bounds[text.TOKENS][2][0]]
        return {"text": text.feeds(texts, tokenizer.of_bundle(bundle), takes), **cases}
    except (InputError, BackendUnavailable, KeyError):  # not a model of text, or no library for it here
        return cases
