"""`trt-pipeline validate`: the verdict, or single tensors close up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pipeline.cli import options
from pipeline.cli.context import Context

if TYPE_CHECKING:
    from pipeline.core.draw import Draw


@click.command()
@options.engine_name
@options.run_options
@click.option("--samples", type=int, metavar="N", help="Compare layers and outputs on N samples.")
@click.option("--batch", type=int, metavar="B", help="Samples a batch; with 1, the worst batch is the worst sample.")
@click.option("--seed", type=int, metavar="S", help="Choose the samples at random; without it, the first ones.")
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    metavar="AXIS=SIZE",
    help="Bring every batch to this size along a dynamic axis: text is cut, masked inputs are padded. Repeatable.",
)
@click.option("--gpu-check", is_flag=True, help="On a GPU: every layer of a tapped engine, and latencies side by side.")
@click.option("--layer", "layers", multiple=True, metavar="TENSOR", help="Look at this tensor itself. Repeatable.")
@options.as_json
@click.pass_context
def validate(
    ctx: click.Context,
    name: str,
    weights: str,
    policy: str | None,
    targets: tuple[str, ...],
    samples: int | None,
    batch: int | None,
    seed: int | None,
    shapes: tuple[str, ...],
    gpu_check: bool,
    layers: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare every layer and output of NAME with fp32; exits 1 when it does not pass.

    Runs every stage before it whose inputs changed. --samples, --batch, --seed and --shape draw other validation
    samples than the spec's, from the calibration data: their report stands in a folder of its own, and nothing ships.

    --layer looks at single tensors instead, given by their name, their node's, or a module that ends in them:
    histograms of reference, candidate and error, the worst elements with their indexes, and the arrays as .npz.
    Polygraphy's comparator judges them at the spec's output tolerances.
    """
    from pipeline.cli import close_up, engine

    context: Context = ctx.obj
    drawn = _draw(samples, batch, seed, shapes)
    until = "compensate" if layers else "validate"
    results = engine.run(
        context,
        name,
        weights=weights,
        policy=policy,
        targets=targets,
        until=until,
        draw=drawn,
        gpu_check=gpu_check,
    )
    if layers:
        ctx.exit(close_up.show(context, results, layers, as_json=as_json))
    if as_json:
        from pipeline.core import serde

        click.echo(serde.dumps(results.artifact("validate")), nl=False)
    else:
        engine.show(context, results, "validate")
    ctx.exit(engine.exit_code(results))


def _draw(samples: int | None, batch: int | None, seed: int | None, shapes: tuple[str, ...]) -> Draw | None:
    """What the command line asks of the samples; None where it leaves them to the spec."""
    from pipeline.core.draw import Draw
    from pipeline.core.errors import SpecError

    if (samples, batch, seed, shapes) == (None, None, None, ()):
        return None
    try:
        return Draw(samples=samples, batch=batch, seed=seed, sizes=dict(_size(text) for text in shapes))
    except ValueError as error:
        raise SpecError(str(error), where="command line") from error


def _size(text: str) -> tuple[str, int]:
    axis, _, size = text.partition("=")
    if not (axis and size.isdecimal()):
        raise ValueError(f"--shape takes AXIS=SIZE, such as sequence=128, and got {text!r}")
    return axis, int(size)
