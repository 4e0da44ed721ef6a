"""A model repository of Triton Inference Server with the bundle as its one model.

Triton's TensorRT backend serves plans of TensorRT proper. A TensorRT-RTX plan needs the RTX release that built it, so
it is served by Triton's Python backend, which loads the whole bundle with `pipeline.runtime`, verified anew.
"""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.bundle import content
from pipeline.bundle.layouts import pbtxt, plain, triton_config
from pipeline.bundle.manifest import Manifest, Plan
from pipeline.bundle.opening import Opened
from pipeline.core.errors import BundleError

VERSION = "1"
PLAN = "model.plan"
MODEL = Path(__file__).parent.parent / "templates" / "triton_model.py.txt"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

USE = "serve it: tritonserver --model-repository {target}"


def write(bundle: Opened, folder: Path) -> str:
    """Write `<engine>/config.pbtxt` and `<engine>/1/…` below `folder`."""
    record = bundle.manifest
    if not NAME.fullmatch(record.engine):
        raise BundleError(f"{record.engine!r} is no name for a model of Triton", where="manifest.json")
    model = folder / record.engine
    version = model / VERSION
    version.mkdir(parents=True)
    plans = [plan for plan in record.plans if plan.flavour == triton_config.TENSORRT]
    if plans:
        config = triton_config.of_plans(record, _place(bundle, plans, version))
    else:
        config = triton_config.of_runtime(record)
        plain.write(bundle, version / "bundle")
        (version / "model.py").write_bytes(MODEL.read_bytes())
    (model / "config.pbtxt").write_text(_comment(record, plans) + pbtxt.dumps(config), encoding="utf-8")
    return USE


def _place(bundle: Opened, plans: list[Plan], version: Path) -> dict[str, str]:
    """Copy the plans; gives the file name for each compute capability."""
    names: dict[str, str] = {}
    for index, plan in enumerate(plans):
        name = PLAN if index == 0 else Path(plan.path).name
        content.copy(bundle.folder, plan.path, bundle.manifest, version / name)
        names.update(dict.fromkeys(plan.targets, name))
    return names


def _comment(record: Manifest, plans: list[Plan]) -> str:
    lines = [f"{record.engine}: written by trt-pipeline from the bundle with core {record.core}"]
    if plans:
        served = ", ".join(sorted({f"TensorRT {plan.version}" for plan in plans}))
        lines.append(f"Served by Triton's TensorRT backend, which has to be of {served}.")
        lines.append("Triton verifies nothing: whoever can write here can run code in it.")
    else:
        served = ", ".join(sorted({f"{plan.flavour} {plan.version}" for plan in record.plans}))
        lines.append("NOT served by Triton's TensorRT backend: the plans are TensorRT-RTX's. The Python backend loads")
        lines.append(f"them with pipeline.runtime: its environment needs trt-pipeline[gpu] and {served}.")
        lines.append("The bundle is verified when it is loaded; name the signer's public key in `public_key` below.")
    if not record.verdict.passed:
        lines.append("NOT VALIDATED: this bundle did not pass validation.")
    return "".join(f"# {' '.join(line.split())}\n" for line in lines) + "\n"
