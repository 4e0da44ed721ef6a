"""What is validated: its artifacts, and their graphs, loaded once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import onnx_ir as ir

from pipeline.core.artifacts import EnginePlans, Fate, OnnxModel, PrecisionPlan
from pipeline.core.formats import Format
from pipeline.core.spec import AxisRange, InputSpec
from pipeline.graph import io, modules
from pipeline.precision.emulation.blocks import sums_in_blocks
from pipeline.precision.emulation.emulate import LOW, emulate
from pipeline.precision.semantics import CONVOLUTIONS

EMULATED = "emulated"
"""The emulation that sums products in fp32 wherever the mixed graph does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is validated. Attributes as the parameters of `pipeline.stages.validate`."""

    engine: str
    exported: OnnxModel
    reference: OnnxModel
    decided: OnnxModel
    mixed: OnnxModel
    plan: PrecisionPlan
    plans: EnginePlans
    inputs: dict[str, InputSpec]
    axes: dict[str, AxisRange] = field(default_factory=dict)

    @property
    def low(self) -> Format:
        """The low format of the plan."""
        return Format(self.plan.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graphs:
    """The graphs of a subject; nobody changes them.

    Attributes:
        reference: The canonical fp32 model.
        decided: The fp32 model that the plan decides about: `reference` itself where nothing was rescaled.
        mixed: The strongly typed model.
        emulations: The mixed graph in fp32 with its roundings; once more where TensorRT may choose an accumulator.
        fates: What became of the reference's tensors in the mixed graph, by tensor.
    """

    reference: ir.Model
    decided: ir.Model
    mixed: ir.Model
    emulations: dict[str, ir.Model]
    fates: dict[str, Fate]


def load(subject: Subject) -> Graphs:
    """Read the graphs of a subject and emulate the mixed one."""
    reference, mixed = io.load(subject.reference.path), io.load(subject.mixed.path)
    same = subject.decided.path == subject.reference.path
    return Graphs(
        reference=reference,
        decided=reference if same else io.load(subject.decided.path),
        mixed=mixed,
        emulations=_emulations(mixed, subject.low),
        fates={fate.tensor: fate for fate in subject.mixed.fates},
    )


def added(graphs: Graphs) -> dict[str, str]:
    """Nodes of the mixed graph that rescaling added, each with what it does."""
    known = {str(node.name) for node in graphs.reference.graph}
    nodes = {str(node.name): node.metadata_props for node in graphs.mixed.graph}
    return {
        name: props[modules.RESCALED]
        for name, props in nodes.items()
        if name not in known and modules.RESCALED in props
    }


def not_emulated(mixed: ir.Model, low: Format) -> Iterator[str]:
    """What the plan may do that no emulation does."""
    convolutions = [node for node in mixed.graph if node.op_type in CONVOLUTIONS and node.outputs[0].dtype in LOW]
    if convolutions:
        yield (
            f"{len(convolutions)} convolutions with sums in {low}: TensorRT takes their accumulator itself, "
            "and they are emulated with fp32 sums only"
        )


def _emulations(mixed: ir.Model, low: Format) -> dict[str, ir.Model]:
    variants = {EMULATED: emulate(mixed)}
    if any(sums_in_blocks(node) and node.outputs[0].dtype in LOW for node in mixed.graph):
        variants[f"{EMULATED}, accumulating in {low}"] = emulate(mixed, accumulate=low)
    return variants
