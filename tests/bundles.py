"""Whole bundles on disk, small enough to make for every test: the encoder's mixed graph, its emulation, and plans."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.bundle import manifest, sbom
from pipeline.bundle.manifest import Axis, File, Graph, Manifest, Plan, Precision, Role, Verdict, core_digest
from pipeline.core import digest, serde
from pipeline.core.artifacts import PrecisionPlan, TensorInfo
from pipeline.graph import io
from pipeline.precision.emulation.emulate import emulate
from tests import encoder, records

MASK = {"7.5": 1, "8.0": 2, "8.6": 4, "8.9": 8, "12.0": 16, "12.1": 32}
RTX, TENSORRT = "tensorrt-rtx", "tensorrt"
PROFILES = {
    "x": ((1, 8, encoder.WIDTH), (2, 16, encoder.WIDTH), (4, 32, encoder.WIDTH)),
    "mask": ((1, 1, 1, 8), (2, 1, 1, 16), (4, 1, 1, 32)),
}


def rtx_plan(targets: tuple[str, ...], version: str = "1.7.1.116", body: bytes = bytes(64)) -> bytes:
    """Bytes with the header of a TensorRT-RTX plan, and nothing that any TensorRT would load."""
    major, minor, patch, build = (int(part) for part in version.split("."))
    return records.plan_bytes((major, minor, patch, build), sum(MASK[target] for target in targets), body)


def plan(path: str = "rtx.plan", **more: Any) -> Plan:
    given: dict[str, Any] = {
        "path": path,
        "flavour": RTX,
        "version": "1.7.1.116",
        "targets": ("8.6", "8.9"),
        "flags": ("BuilderFlag.STRONGLY_TYPED",),
        "tf32": False,
        "workspace_mib": 64,
        "profiles": PROFILES,
        "kernels": None,
        "fused_attentions": None,
    }
    return Plan(**{**given, **more})


def write(folder: Path, *plans: Plan, extra: dict[str, bytes] | None = None, **more: Any) -> Manifest:
    """Write a bundle of the encoder with these plans; `extra` holds further files by path."""
    plans = plans or (plan(),)
    folder.mkdir(parents=True)
    model = io.load(io.save(encoder.mixed(), folder))
    io.save_beside(emulate(model), folder / "emulated.onnx")
    recipe = encoder.plan()
    (folder / "precision.json").write_text(serde.dumps(recipe))
    for item in plans:
        (folder / item.path).write_bytes(rtx_plan(item.targets, item.version) if item.flavour == RTX else b"a plan")
    for name, content in (extra or {}).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return seal(folder, _record(plans, recipe, **more))


def seal(folder: Path, record: Manifest) -> Manifest:
    """Write the manifest of what lies in `folder` now."""
    files = _files(folder)
    fields = {name: getattr(record, name) for name in record.__dataclass_fields__}
    record = Manifest(**{**fields, "files": files, "core": core_digest(files)})
    (folder / "manifest.json").write_text(manifest.dumps(record), encoding="utf-8")
    return record


def add_materials(folder: Path, record: Manifest) -> Manifest:
    """Give a bundle a bill of materials."""
    text = sbom.render(record.engine, record.files, {"weights": record.weights}, epoch=None)
    (folder / sbom.FILE).write_text(text, encoding="utf-8")
    return seal(folder, record)


def _record(plans: tuple[Plan, ...], recipe: PrecisionPlan, **more: Any) -> Manifest:
    zero = File(role=Role.ONNX, size=0, sha256="0" * 64)
    names = ["model.onnx", "emulated.onnx", "precision.json", *(item.path for item in plans)]
    files = dict.fromkeys(names, zero)
    report = records.report()
    given: dict[str, Any] = {
        "engine": "encoder",
        "core": core_digest(files),
        "files": files,
        "plans": plans,
        "graph": _graph(),
        "precision": _precision(recipe),
        "weights": records.REAL,
        "tokenizer": None,
        "verdict": Verdict(
            passed=True, samples=8, layers=2, compared=2, outputs=report.outputs, tasks=report.tasks, not_run=()
        ),
        "licences": {"weights": "Apache-2.0"},
        "versions": {},
    }
    return Manifest(**{**given, **more})


def _graph() -> Graph:
    return Graph(
        path="model.onnx",
        digest="d" * 64,
        emulated="emulated.onnx",
        exported="e" * 64,
        opset=20,
        inputs=(
            TensorInfo(name="x", dtype="float32", shape=("batch", "sequence", encoder.WIDTH)),
            TensorInfo(name="mask", dtype="float32", shape=("batch", 1, 1, "sequence")),
        ),
        outputs=(TensorInfo(name="y", dtype="float32", shape=("batch", "sequence", encoder.WIDTH)),),
        axes={name: Axis(min=item.min, opt=item.opt, max=item.max) for name, item in encoder.AXES.items()},
    )


def _precision(recipe: PrecisionPlan) -> Precision:
    nodes: dict[str, int] = {}
    for item in recipe.decisions:
        nodes[str(item.result)] = nodes.get(str(item.result), 0) + 1
    return Precision(
        path="precision.json", policy=recipe.policy, low=str(recipe.low), reference=recipe.model, nodes=nodes
    )


def _files(folder: Path) -> dict[str, File]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in ("manifest.json", "manifest.json.sig"):
            found[name] = File(role=_role(name), size=path.stat().st_size, sha256=digest.of_file(path))
    return found


def _role(name: str) -> Role:
    if name.startswith("tokenizer/"):
        return Role.TOKENIZER
    fixed = {
        "emulated.onnx": Role.EMULATED,
        "precision.json": Role.PRECISION,
        "README.md": Role.README,
        sbom.FILE: Role.SBOM,
    }
    return fixed.get(name, Role.PLAN if name.endswith(".plan") else Role.ONNX)
