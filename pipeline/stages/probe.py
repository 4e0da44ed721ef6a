"""probe: the kernels of the plan with every node in the low format, as the baseline that marking must not break."""

from __future__ import annotations

import tempfile
from pathlib import Path

from pipeline.core.artifacts import FusionBaseline, OnnxModel, PlanText
from pipeline.core.errors import BackendUnavailable, BuildError, PrecisionError
from pipeline.core.formats import Format
from pipeline.core.progress import Progress
from pipeline.core.spec import AxisRange, BuildSpec, InputSpec
from pipeline.core.stage import stage

PREFERRED = "8.9"
LOG = "probe.log"


@stage(
    version=1,
    rooms=("analysis/delivery/fusion.py", "backends/tensorrt", "backends/plan_text.py", "precision", "graph"),
    tools=("tensorrt-rtx", "polygraphy", "onnx-ir"),
)
def probe(
    reference: OnnxModel,
    inputs: dict[str, InputSpec],
    axes: dict[str, AxisRange],
    build: BuildSpec,
    low: Format,
    *,
    out: Path,
    progress: Progress,
) -> FusionBaseline:
    """Build `reference` with every node in `low` for one target and read the plan's kernels.

    The graph and the plan are not kept. Numbers that such a plan would compute are of no interest here.

    Returns:
        The kernels, or the reason why there is no such plan.
    """
    from pipeline.analysis.delivery import fusion
    from pipeline.graph import io

    attentions = len(fusion.attention_cores(io.load(reference.path).graph))
    named = [target for target in build.targets if target != "gpu"]
    if not named:
        reason = "target 'gpu' is built by TensorRT, whose plans hold no readable text"
        return FusionBaseline(attentions=attentions, reason=reason)
    target = PREFERRED if PREFERRED in named else named[0]
    try:
        plan = _all_low(reference, inputs, axes, build, low, target, out, progress)
    except (BackendUnavailable, BuildError, PrecisionError) as error:
        progress.note(f"no all-{low} plan, so lost fusions cannot be told: {error.what.splitlines()[0]}")
        return FusionBaseline(attentions=attentions, target=target, reason=error.what)
    return FusionBaseline(attentions=attentions, target=target, plan=plan)


def _all_low(
    reference: OnnxModel,
    inputs: dict[str, InputSpec],
    axes: dict[str, AxisRange],
    build: BuildSpec,
    low: Format,
    target: str,
    out: Path,
    progress: Progress,
) -> PlanText:
    from pipeline.backends import plan_text
    from pipeline.backends.tensorrt import process, profiles
    from pipeline.backends.tensorrt.flavour import Flavour
    from pipeline.backends.tensorrt.records import BuildRequest

    with tempfile.TemporaryDirectory(dir=out) as scratch:
        request = BuildRequest(
            onnx=_save_all_low(reference, low, Path(scratch)),
            plan=Path(scratch) / "probe.plan",
            flavour=Flavour.RTX,
            targets=(target,),
            workspace_mib=build.workspace_mib,
            tf32=build.tf32,
            profiles=profiles.of_inputs(inputs, axes),
        )
        answer = process.build(request, out / LOG, progress)
        if not answer.built:
            raise BuildError(f"TensorRT-RTX refuses the all-{low} graph: {answer.errors[0]}")
        text = plan_text.read(request.plan)
    if text.version is None:
        raise BuildError(f"plans of TensorRT-RTX {answer.version} cannot be read yet")
    return text


def _save_all_low(reference: OnnxModel, low: Format, folder: Path) -> Path:
    from pipeline.graph import io
    from pipeline.precision import casts
    from pipeline.precision.policy.policies import uniform

    model = io.load(reference.path)
    casts.apply(model, uniform(model, low))
    return io.save(model, folder)
