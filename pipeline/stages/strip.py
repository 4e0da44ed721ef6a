"""strip: the canonical model under ordinals, so that nothing made of it tells its author's names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core import serde
from pipeline.core.artifacts import OnnxModel, Stripped
from pipeline.core.errors import SpecError
from pipeline.core.progress import Progress
from pipeline.core.spec import Policy, PrecisionSpec
from pipeline.core.stage import stage

if TYPE_CHECKING:
    import onnx_ir as ir

NAMES = "names.json"


@stage(version=1, rooms=("graph", "precision/policy/patterns.py"), tools=("onnx", "onnx-ir"))
def strip(reference: OnnxModel, precision: PrecisionSpec, *, out: Path, progress: Progress) -> Stripped:
    """Rename nodes, tensors and modules of `reference` to ordinals; inputs and outputs keep their names.

    Patterns of the spec are resolved on the names that they were written for.

    Args:
        reference: The canonical model.
        precision: How precision is decided.
        out: Receives the model and `names.json`, which is the only place that tells what was renamed to what.
        progress: Told how many names there were.

    Raises:
        SpecError: The policy is a file, whose patterns cannot be resolved here.
        PrecisionError: A pattern matches nothing.
    """
    from pipeline.graph import io, names

    if precision.policy not in set(Policy):
        raise SpecError(
            f"policy file {precision.policy} names what --strip-names takes away",
            where="precision.policy",
            hint="put its patterns into engine.toml under [precision]",
        )
    model = io.load(reference.path)
    groups = (precision.fp32, precision.bf16, precision.fp16)
    matched = [_matched(model, patterns) for patterns in groups]
    found = names.strip(model)
    progress.note(f"{len(found.nodes)} nodes and {len(found.tensors)} tensors renamed")
    map_file = out / NAMES
    map_file.write_text(serde.dumps(found), encoding="utf-8")
    path = io.save(model, out)
    given = {found.nodes[node]: low for node, low in reference.given.items() if node in found.nodes}
    fp32, bf16, fp16 = (tuple(str(node.name) for node in nodes) for nodes in matched)
    return Stripped(
        model=io.describe(model, path, provenance=reference.provenance, given=given),
        names=map_file,
        fp32=fp32,
        bf16=bf16,
        fp16=fp16,
    )


def _matched(model: ir.Model, patterns: tuple[str, ...]) -> list[ir.Node]:
    from pipeline.precision.policy import patterns as matching

    return list(matching.matching(list(model.graph), patterns, "engine.toml: precision"))
