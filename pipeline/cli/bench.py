"""`trt-pipeline bench`."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.cli import loading, options

if TYPE_CHECKING:
    from pipeline.runtime import Engine
    from pipeline.runtime.timing import Timing


@click.command()
@loading.bundle_options
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="S",
    help="min, opt, max, or sizes of axes such as batch=1,sequence=64. Default: min and opt; max too on the engine.",
)
@click.option(
    "--calls", type=click.IntRange(1), default=200, show_default=True, help="Most calls that are timed a shape."
)
@click.option("--seconds", type=click.FloatRange(0), default=3.0, show_default=True, help="Longest time a shape.")
@options.as_json
def bench(
    bundle: Path,
    key: Path | None,
    backend: str,
    plan: str | None,
    shapes: tuple[str, ...],
    calls: int,
    seconds: float,
    as_json: bool,
) -> None:
    """Measure latency and throughput of BUNDLE on what is here, after a warm-up.

    Without a GPU the emulation is timed: these are not the engine's figures, and the output says so.
    """
    from pipeline.runtime import timing

    with loading.loaded(bundle, key=key, backend=backend, plan=plan) as (engine, _):
        asked = shapes or (("min", "opt") if engine.plan is None else ("min", "opt", "max"))
        wanted = {name: timing.shapes_of(engine.interface, name) for name in asked}
        found = [timing.measure(engine, name, wanted[name], calls=calls, seconds=seconds) for name in wanted]
        ran, device = _where(engine)
    if as_json:
        from pipeline.core import serde

        document = {"ran": ran, "device": device, "note": engine.note, "timings": found}
        click.echo(serde.dumps(document), nl=False)
    else:
        _show(ran, device, found, emulated=engine.plan is None)


def _where(engine: Engine) -> tuple[str, str]:
    """What ran, and on what."""
    if engine.plan is None:
        return "emulated", f"{len(os.sched_getaffinity(0))} cores of this {platform.machine()} CPU"
    from pipeline.core import device

    gpus = device.probe().gpus
    return engine.plan.path, gpus[0].name if gpus else "GPU"


def _show(ran: str, device: str, found: list[Timing], *, emulated: bool) -> None:
    from pipeline.cli import screen

    output = screen.console()
    rows = [
        (
            item.name,
            "; ".join(f"{name} {'×'.join(map(str, shape))}" for name, shape in item.shapes.items()),
            f"{item.median_ms:.2f}",
            f"{item.p99_ms:.2f}",
            f"{item.per_second:.1f}",
            item.calls,
        )
        for item in found
    ]
    headers = ["shape", "inputs", ">median ms", ">p99 ms", ">rows/s", ">calls"]
    title = f"{ran} on {device}, copies to and from the host included"
    screen.grid(output, headers, rows, title=title)
    if any(item.calls < 100 for item in found):
        output.print("p99 of fewer than 100 calls is the slowest of them", style="dim")
    if emulated:
        output.print("THESE ARE NOT THE ENGINE'S FIGURES: the emulation on a CPU, timed as such", style="bold yellow")
