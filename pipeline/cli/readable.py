"""Read a file of any kind that this project writes, and print it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.padding import Padding
from rich.text import Text

from pipeline.bundle.manifest import Manifest
from pipeline.cli import artifacts, screen
from pipeline.core import serde, spec_file
from pipeline.core.artifacts import Decision, PrecisionPlan, ValidationReport
from pipeline.core.errors import SpecError
from pipeline.core.spec import EngineSpec

if TYPE_CHECKING:
    import onnx_ir as ir

KNOWN = ".toml, .onnx, .plan, precision.json, report.json, or the folder of a bundle"
JSON_KINDS: dict[str, type[Any]] = {"decisions": PrecisionPlan, "layers": ValidationReport, "files": Manifest}
"""A field that tells a kind of JSON file from the others."""


def file(path: Path) -> Any:
    """The record that a file holds.

    Raises:
        PipelineError: It is not of a known kind, or not valid.
    """
    match path.suffix:
        case ".toml":
            return spec_file.read(path)
        case ".onnx":
            return _onnx(path)
        case ".plan":
            from pipeline.backends import plan_text

            return plan_text.read(path)
        case ".json":
            return _json(path)
    raise SpecError("not a kind of file that can be shown", where=str(path), hint=f"known: {KNOWN}")


def bundle(folder: Path) -> Manifest:
    """The manifest of a bundle."""
    from pipeline.bundle import verify

    return verify.read(folder)


def show(record: Any) -> None:
    """Print any record that `file` or `bundle` gives, or a spec."""
    output = screen.console()
    match record:
        case EngineSpec():
            _show_spec(record)
        case Manifest():
            _show_manifest(record)
        case ValidationReport():
            from pipeline.report import console

            console.show(output, record)
        case dict():
            _show_onnx(record)
        case _:
            artifacts.show(record, output)


def show_decisions(plan: PrecisionPlan) -> None:
    """Print the decision for every node, in graph order, and under it why."""
    output = screen.console()
    for item in plan.decisions:
        formats = Text(" ".join(_formats(item)), "cyan")
        output.print(Text.assemble((item.node, "bold"), f" ({item.op}): ", formats))
        why = Text(f"{item.rule}: {item.reason}; rests on {item.grounds}", "dim")
        output.print(Padding(why, (0, 0, 0, 4), expand=False))


def _formats(decision: Decision) -> list[str]:
    """Operands → result, and the accumulator where it is another."""
    if decision.result is None:
        return ["–"]
    operands = decision.operands or decision.result
    change = [str(operands)] if operands is decision.result else [f"{operands}→{decision.result}"]
    return [*change, *([f"sum {decision.accumulator}"] if decision.accumulator not in (None, operands) else [])]


def show_modules(path: Path, *, as_json: bool) -> None:
    """Print every module path of an ONNX model with its class and number of nodes."""
    from pipeline.graph import io, modules

    nodes = list(io.load(path).graph)
    counts = Counter((modules.module_of(node), modules.class_of(node)) for node in nodes)
    rows = [{"module": module, "class": kind, "nodes": count} for (module, kind), count in counts.items()]
    if as_json:
        click.echo(serde.dumps(rows), nl=False)
        return
    cells = [(row["module"] or "(none)", row["class"], row["nodes"]) for row in rows]
    screen.grid(screen.console(), ["module", "class", ">nodes"], cells)


def _json(path: Path) -> Any:
    try:
        fields = json.loads(path.read_bytes())
        kinds = [kind for field, kind in JSON_KINDS.items() if isinstance(fields, dict) and field in fields]
        if kinds:
            return serde.loads(kinds[0], path.read_bytes())
    except ValueError as error:
        raise SpecError(f"not a valid record: {error}", where=str(path)) from error
    raise SpecError("JSON, but no precision plan, report or manifest", where=str(path), hint=f"known: {KNOWN}")


def _onnx(path: Path) -> dict[str, Any]:
    """What an ONNX file holds, in figures."""
    from pipeline.graph import io

    model = io.load(path)
    graph = model.graph
    sizes = [value.const_value.nbytes for value in graph.initializers.values() if value.const_value is not None]
    return {
        "onnx": path,
        "opset": io.opset(model),
        "nodes": len(list(graph)),
        "ops": dict(Counter(node.op_type for node in graph).most_common()),
        "types": dict(Counter(_dtype(value) for node in graph for value in node.outputs)),
        "weight_bytes": sum(sizes),
        "input": [_port(value) for value in graph.inputs],
        "output": [_port(value) for value in graph.outputs],
    }


def _port(value: ir.Value) -> tuple[str, str, str]:
    dims = value.shape or ()
    shape = " × ".join("?" if dim is None else str(dim) for dim in (_size(dim) for dim in dims))
    return str(value.name), _dtype(value), shape


def _size(dim: int | ir.SymbolicDim) -> int | str | None:
    return dim if isinstance(dim, int) else dim.value


def _dtype(value: ir.Value) -> str:
    return "untyped" if value.dtype is None else value.dtype.name.lower()


def _show_onnx(record: dict[str, Any]) -> None:
    output = screen.console()
    screen.facts(
        output,
        [
            ("onnx", record["onnx"]),
            ("opset", record["opset"]),
            ("nodes", record["nodes"]),
            ("weights", f"{record['weight_bytes'] / 1e6:.1f} MB"),
            ("tensors", ", ".join(f"{count} {kind}" for kind, count in record["types"].items())),
            ("ops", ", ".join(f"{count} {kind}" for kind, count in record["ops"].items())),
        ],
    )
    rows = [(side, *row) for side in ("input", "output") for row in record[side]]
    screen.grid(output, ["", "name", "type", "shape"], rows)


def _show_spec(spec: EngineSpec) -> None:
    output = screen.console()
    weights = spec.model.weights
    packages = ", ".join(f"{item.name}=={item.version}" for item in weights.packages)
    source = f"hub {weights.hub}@{weights.revision}" if weights.hub else packages or weights.path
    screen.facts(
        output,
        [
            ("engine", spec.name),
            ("", spec.description),
            ("model", " ".join(filter(None, (spec.model.source, spec.model.architecture, spec.model.callable)))),
            ("weights", source),
            ("licence", weights.licence),
            ("opset", spec.model.opset),
            ("policy", f"{spec.precision.policy}, low format {spec.precision.low}"),
            ("targets", ", ".join(spec.build.targets)),
            ("calibration", f"{spec.calibration.samples} samples of {spec.calibration.data.path or 'a callable'}"),
            ("task", None if spec.task is None else f"{spec.task.metric}, may worsen by {spec.task.tolerance:g}"),
        ],
    )
    rows = [
        (name, item.dtype, " × ".join(map(str, item.axes)), ", ".join(item.masks)) for name, item in spec.inputs.items()
    ]
    screen.grid(output, ["input", "type", "axes", "masks"], rows)
    screen.grid(
        output,
        ["axis", ">min", ">opt", ">max"],
        [(name, size.min, size.opt, size.max) for name, size in spec.axes.items()],
    )


def _show_manifest(record: Manifest) -> None:
    output = screen.console()
    verdict = record.verdict
    nodes = ", ".join(f"{count} {kind}" for kind, count in record.precision.nodes.items())
    screen.facts(
        output,
        [
            ("bundle of", record.engine),
            ("verdict", "passed" if verdict.passed else "NOT PASSED"),
            *(("shipped although", line) for line in verdict.overridden),
            ("core", record.core),
            ("names", "ordinals" if record.graph.names_stripped else "the model's own"),
            ("layers", f"{verdict.compared} of {verdict.layers} compared on {verdict.samples} samples"),
            ("precision", f"{record.precision.policy}: {nodes}"),
            *artifacts.provenance(record.weights),
            ("versions", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
            *(("not run", line) for line in verdict.not_run),
        ],
    )
    plans = [
        (item.path, f"{item.flavour} {item.version}", ", ".join(item.targets), item.fused_attentions)
        for item in record.plans
    ]
    screen.grid(output, ["plan", "built by", "targets", ">fused attentions"], plans)
    files = [(name, item.role, f"{item.size:,}", item.sha256[:12]) for name, item in record.files.items()]
    screen.grid(output, ["file", "role", ">bytes", "sha256"], files)
