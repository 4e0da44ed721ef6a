"""The verdict: layers, outputs, task, and what was not run."""

from __future__ import annotations

import importlib.metadata
import platform
from contextlib import ExitStack

from pipeline.analysis.comparison.outputs import Run
from pipeline.analysis.gpu import gpu_plan
from pipeline.analysis.verdict import emulations, extremes, runs, subject
from pipeline.analysis.verdict.contributions import contributions
from pipeline.analysis.verdict.failures import failures
from pipeline.analysis.verdict.subject import EMULATED, Graphs, Subject
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import Extreme, GpuCheck, Layer, Origin, Samples, ValidationReport
from pipeline.core.progress import Progress
from pipeline.core.spec import TaskSpec, ToleranceSpec
from pipeline.graph import io


def report(
    given: Subject,
    samples: Samples,
    task: TaskSpec | None,
    tolerances: ToleranceSpec,
    progress: Progress,
    *,
    gpu_check: bool = False,
) -> ValidationReport:
    """Compare everything that can be compared on this machine; with `gpu_check`, more than outputs on its GPU."""
    graphs = subject.load(given)
    files = samples.validation.batches
    found = emulations.judged(given, graphs, samples, tolerances, progress)
    shares = contributions(graphs.decided, given.plan, files, given.inputs, progress)
    tried = _extremes(given, graphs, samples, progress)
    with ExitStack() as stack:
        engine, not_run, environment = _engine(given, stack)
        exported = Session(given.exported.path)
        candidates: dict[str, Run] = {
            name: Session(graphs.emulations[name], as_written=True) for name in found.tried
        } | engine
        verdicts, canonical = runs.judged_outputs(given, exported, candidates, samples, tolerances, progress)
        tasks = runs.judged_task(given, exported, candidates, samples, task, progress)
    on_gpu, missed = _on_gpu(given, found.layers, samples, tolerances, progress) if gpu_check else (None, ())
    reasons = failures(found.layers, verdicts, tasks, given.plans.plans, tried)
    return ValidationReport(
        engine=given.engine,
        passed=not reasons,
        failures=reasons,
        provenance=given.exported.provenance,
        policy=given.plan.policy,
        layers=found.layers,
        outputs=verdicts,
        tasks=tasks,
        canonical=canonical,
        samples=samples.validation.samples,
        not_run=(
            *not_run,
            *emulations.not_tried(graphs.emulations, found.tried),
            *subject.not_emulated(graphs.mixed, given.low),
            *missed,
        ),
        environment=_environment() | environment,
        made=given.mixed.checks,
        added=subject.added(graphs),
        causes=found.causes,
        contributions=shares,
        extremes=tried,
        gpu=on_gpu,
        subjects=_digests(given),
    )


def _extremes(given: Subject, graphs: Graphs, samples: Samples, progress: Progress) -> tuple[Extreme, ...]:
    return extremes.tried(
        graphs.reference,
        graphs.emulations[EMULATED],
        given.mixed.fates,
        given.inputs,
        given.axes,
        samples.validation.batches,
        progress,
    )


def _digests(given: Subject) -> dict[str, str]:
    models = {"exported": given.exported, "reference": given.reference, "mixed": given.mixed}
    graphs = {name: io.model_digest(model) for name, model in models.items()}
    return graphs | {plan.path.name: plan.digest for plan in given.plans.plans}


def _engine(given: Subject, stack: ExitStack) -> tuple[dict[str, Run], tuple[str, ...], dict[str, str]]:
    """The plan for the GPU at hand, ready to run; or why there is none."""
    found = gpu_plan.find(given.plans)
    if isinstance(found, str):
        return {}, (f"engine: {found}",), {}
    plan, gpu = found
    return {Origin.ENGINE.value: stack.enter_context(gpu_plan.loaded(plan))}, (), {"gpu": gpu.name}


def _on_gpu(
    given: Subject,
    layers: tuple[Layer, ...],
    samples: Samples,
    tolerances: ToleranceSpec,
    progress: Progress,
) -> tuple[GpuCheck | None, tuple[str, ...]]:
    """Both views of the plan and the latencies, or why there are none."""
    from pipeline.analysis.gpu import gpu_check

    found = gpu_plan.find(given.plans)
    if isinstance(found, str):
        return None, (f"tapped engine and latencies: {found}",)
    return gpu_check.check(
        gpu_check.OnGpu(
            reference=given.reference,
            mixed=given.mixed,
            plan=found[0],
            gpu=found[1],
            low=given.low,
            inputs=given.inputs,
        ),
        layers,
        samples.validation.batches,
        tolerances,
        progress,
    ), ()


def _environment() -> dict[str, str]:
    tools = ("onnxruntime-gpu", "polygraphy", "numpy", "onnx-ir")
    return {tool: importlib.metadata.version(tool) for tool in tools} | {
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
