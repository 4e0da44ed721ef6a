"""What can be said of any mixed graph, whoever wrote it: its emulated error, its nodes and casts, its built plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from pipeline.analysis import batches
from pipeline.analysis.comparison import outputs
from pipeline.backends import plan_text
from pipeline.backends.onnxruntime import Session
from pipeline.backends.tensorrt import process, profiles
from pipeline.backends.tensorrt.flavour import Flavour
from pipeline.backends.tensorrt.records import BuildRequest
from pipeline.core.artifacts import OnnxModel, Samples
from pipeline.core.formats import Format
from pipeline.core.progress import Silent
from pipeline.core.spec import EngineSpec
from pipeline.data import metrics
from pipeline.graph import infer
from pipeline.precision import semantics
from pipeline.precision.emulation.blocks import sums_in_blocks
from pipeline.precision.emulation.emulate import LOW, emulate
from pipeline.precision.semantics import WEIGHTED, Movement

TARGET = "8.9"
FLOATS = LOW | {ir.DataType.FLOAT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Figures of one mixed graph.

    Attributes:
        sqnr_db: Worst output's SQNR on held-out samples; the worse where TensorRT may choose an accumulator.
        relative_l2: The same as relative L2 error.
        task: The task metric, the worse of both; None where there is none.
        worsening: By how much that is worse than in fp32, as a spec's tolerance counts it; negative where it is better.
        masked_nan: NaN in the outputs where nothing of the first held-out sample is a valid token; None without a mask.
        fp32_nodes: Nodes that compute in fp32, as `Cost.fp32_nodes` counts them: a product, or a sum of elements, whose
            operands are only widened is none, because it only sums in fp32.
        casts: Casts between float formats.
        sum_casts: Those of them that only ask for fp32 sums: they widen a product's operands and narrow its result, and
            TensorRT takes them into the product.
        kernels: Kernels of its TensorRT-RTX plan; None where it cannot be built.
        attentions: Fused attentions in it.
        refused: Why it cannot be built.
    """

    sqnr_db: float
    relative_l2: float
    task: float | None
    worsening: float | None
    masked_nan: int | None
    fp32_nodes: int
    casts: int
    sum_casts: int
    kernels: int | None
    attentions: int | None
    refused: str | None


def gather(
    path: Path, spec: EngineSpec, exported: OnnxModel, samples: Samples, reference: float | None, scratch: Path
) -> Facts:
    """Measure one graph.

    Args:
        path: The graph.
        spec: Of the engine.
        exported: The exported fp32 model.
        samples: Held-out and task samples.
        reference: The task metric in fp32; None where there is none.
        scratch: Folder for its plan.

    Raises:
        PipelineError: An operator has no semantics, or an output differs in shape.
    """
    mixed = ir.load(path)
    infer.infer(mixed)
    runs = {name: Session(model, as_written=True) for name, model in _emulations(mixed).items()}
    judged = outputs.judge(
        exported, Session(exported.path), runs, samples.validation.batches, spec.inputs, spec.tolerances, Silent()
    )
    stats = [item.difference.stats() for found in judged.values() for item in found.values()]
    kernels, attentions, refused = _built(path, spec, scratch)
    task = _task(runs, exported, spec, samples)
    return Facts(
        sqnr_db=_worst([item.sqnr_db for item in stats], min),
        relative_l2=_worst([item.relative_l2 for item in stats], max),
        task=task,
        worsening=_worsening(spec, reference, task),
        masked_nan=_masked(runs, exported, spec, samples.validation.batches[0]),
        fp32_nodes=fp32_nodes(mixed),
        casts=sum(_casts_floats(node) for node in mixed.graph),
        sum_casts=sum(_asks_for_sums(node) for node in mixed.graph),
        kernels=kernels,
        attentions=attentions,
        refused=refused,
    )


def task_of(exported: OnnxModel, spec: EngineSpec, samples: Samples) -> float | None:
    """The task metric in fp32."""
    return _task({"exported": Session(exported.path)}, exported, spec, samples)


def _emulations(mixed: ir.Model) -> dict[str, ir.Model]:
    variants = {"fp32 sums": emulate(mixed)}
    if any(sums_in_blocks(node) and node.outputs[0].dtype in LOW for node in mixed.graph):
        variants["low sums"] = emulate(mixed, accumulate=Format.FP16)
    return variants


def _worst(values: list[float], pick: Callable[[list[float]], float]) -> float:
    """What `pick` takes of them; NaN where any is NaN."""
    return math.nan if any(map(math.isnan, values)) else pick(values)


def _task(runs: Mapping[str, Session], exported: OnnxModel, spec: EngineSpec, samples: Samples) -> float | None:
    if spec.task is None or samples.task is None:
        return None
    names = [info.name for info in exported.inputs]
    values = list(outputs.measure(spec.task, samples.task.batches, names, runs, Silent()).values())
    return _worst(values, min if metrics.METRICS[spec.task.metric].higher_is_better else max)


def _worsening(spec: EngineSpec, reference: float | None, task: float | None) -> float | None:
    if spec.task is None or reference is None or task is None:
        return None
    return metrics.measure(spec.task.metric).worsening(reference, task)


def _masked(runs: Mapping[str, Session], exported: OnnxModel, spec: EngineSpec, batch: Path) -> int | None:
    masks = [name for name, given in spec.inputs.items() if given.masks]
    if not masks:
        return None
    feeds = {name: array[:1] for name, array in batches.read(batch, [info.name for info in exported.inputs]).items()}
    feeds |= {name: np.zeros_like(feeds[name]) for name in masks}
    return max(sum(int(np.isnan(array).sum()) for array in run(feeds).values()) for run in runs.values())


def _casts_floats(node: ir.Node) -> bool:
    source = _cast_from(node)
    return source is not None and source.dtype in FLOATS and node.outputs[0].dtype in FLOATS


def _cast_from(node: ir.Node | None) -> ir.Value | None:
    return node.inputs[0] if node is not None and node.op_type == "Cast" else None


def _asks_for_sums(node: ir.Node) -> bool:
    source = _cast_from(node)
    if source is None or not _casts_floats(node):
        return False
    producer = source.producer()
    readers = [use.node for use in node.outputs[0].uses()]
    widens = _is_widened(node.outputs[0]) and all(reader.op_type in WEIGHTED for reader in readers)
    return (widens and bool(readers)) or (
        producer is not None
        and producer.op_type in WEIGHTED
        and all(_is_widened(value) for value in producer.inputs if value is not None)
    )


def fp32_nodes(mixed: ir.Model) -> int:
    """Nodes that compute in fp32, as `Facts` counts them."""
    return sum(_is_wide(node) for node in mixed.graph)


def _is_wide(node: ir.Node) -> bool:
    row = semantics.TABLE.get(node.op_type)
    if row is None or row.movement in (Movement.EXACT, Movement.INTEGER) or node.op_type == "Cast":
        return False
    operands = [value for value in node.inputs if value is not None and value.dtype in FLOATS]
    if row.sums and operands and all(_is_widened(value) for value in operands):
        return False
    return (operands[0] if operands else node.outputs[0]).dtype is ir.DataType.FLOAT


def _is_widened(value: ir.Value) -> bool:
    source = _cast_from(value.producer())
    return source is not None and source.dtype in LOW and value.dtype in FLOATS


def _built(path: Path, spec: EngineSpec, scratch: Path) -> tuple[int | None, int | None, str | None]:
    request = BuildRequest(
        onnx=path,
        plan=scratch / "benchmark.plan",
        flavour=Flavour.RTX,
        targets=(TARGET,),
        workspace_mib=spec.build.workspace_mib,
        tf32=spec.build.tf32,
        profiles=profiles.of_inputs(spec.inputs, spec.axes),
    )
    answer = process.build(request, scratch / "benchmark.log", Silent())
    if not answer.built:
        return None, None, answer.errors[0]
    text = plan_text.read(request.plan)
    request.plan.unlink()
    return len(text.kernels), text.fused_attentions, None
