"""Compare two graphs several times, with sums as other processors might give them."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from pipeline.analysis.comparison import outputs
from pipeline.analysis.comparison.compare import Compared, compare
from pipeline.backends.onnxruntime import Session
from pipeline.core.artifacts import OnnxModel, Samples
from pipeline.core.artifacts.steadiness import Steadiness
from pipeline.core.progress import Progress
from pipeline.core.spec import InputSpec, TaskSpec
from pipeline.graph import io
from pipeline.precision.emulation import shaken
from pipeline.precision.emulation.emulate import emulate


def measure(
    reference: OnnxModel,
    mixed: OnnxModel,
    samples: Samples,
    inputs: Mapping[str, InputSpec],
    task: TaskSpec | None,
    repeats: int,
    progress: Progress,
) -> Steadiness:
    """Figures of `repeats` comparisons of the first validation batch: fewer samples, no smaller spread."""
    epsilon = shaken.epsilon(io.load(reference.path))
    found = []
    tasks = []
    for repeat in range(repeats):
        found.append(_compared(reference, mixed, samples, inputs, epsilon, repeat, progress))
        tasks += _task(mixed, samples, task, epsilon, repeat, progress)
        progress.advance("repeats", repeat + 1, repeats)
    return Steadiness(
        repeats=repeats,
        epsilon=epsilon,
        layers={name: tuple(_noise(part[name]) for part in found) for name in found[0]},
        own={name: tuple(_own(part[name]) for part in found) for name in found[0] if found[0][name].alone is not None},
        tasks=tuple(tasks),
    )


def _compared(
    reference: OnnxModel,
    mixed: OnnxModel,
    samples: Samples,
    inputs: Mapping[str, InputSpec],
    epsilon: float,
    repeat: int,
    progress: Progress,
) -> dict[str, Compared]:
    one, other = io.load(reference.path), emulate(io.load(mixed.path))
    fates = {fate.tensor: fate for fate in mixed.fates}
    fates |= {fate.tensor: fate for fate in shaken.shake(one, epsilon, repeat=repeat)}
    shaken.shake(other, epsilon, repeat=repeat)
    return compare(one, other, fates.values(), samples.validation.batches[:1], inputs, progress, alone=True)[0]


def _task(
    mixed: OnnxModel, samples: Samples, task: TaskSpec | None, epsilon: float, repeat: int, progress: Progress
) -> list[float]:
    if task is None or samples.task is None:
        return []
    model: ir.Model = emulate(io.load(mixed.path))
    shaken.shake(model, epsilon, repeat=repeat)
    names = [info.name for info in mixed.inputs]
    run = Session(model, as_written=True)
    return [outputs.measure(task, samples.task.batches, names, {"shaken": run}, progress)["shaken"]]


def _noise(compared: Compared) -> float:
    return float(10.0 ** (-compared.kept.stats().sqnr_db / 10.0))


def _own(compared: Compared) -> float:
    assert compared.alone is not None  # asked for
    return float(10.0 ** (-compared.alone.injected().sqnr_db / 10.0))
