"""Each stage by its name: run the line that far, and print what came out."""

from __future__ import annotations

import click

from pipeline.cli import options
from pipeline.cli.context import Context

HELP = {
    "fetch": "Fetch the weights of NAME: pinned, hash-checked, into the store.",
    "sample": "Read calibration, validation and task samples.",
    "export": "Export the module to fp32 ONNX and compare the two.",
    "canonicalise": "Bring the graph into the form whose fusions TensorRT keeps.",
    "calibrate": "Observe the range of every tensor on the calibration set.",
    "probe": "Build the all-fp16 plan: the fusions that marking must not break.",
    "rescale": "Hold linear layers that leave fp16's range times powers of two: exact in fp32.",
    "mark": "Decide the precision of every node.",
    "convert": "Write the strongly typed mixed-precision graph.",
    "compensate": "Take the mean error of rounding out of biases, where the spec asks for it.",
    "build": "Build the TensorRT plans.",
}


def _command(stage: str) -> click.Command:
    @click.command(stage, help=f"{HELP[stage]}\n\nRuns every stage before it whose inputs changed.")
    @options.engine_name
    @options.run_options
    @options.as_json
    @click.pass_context
    def command(
        ctx: click.Context, name: str, weights: str, policy: str | None, targets: tuple[str, ...], as_json: bool
    ) -> None:
        from pipeline.cli import engine

        context: Context = ctx.obj
        results = engine.run(context, name, weights=weights, policy=policy, targets=targets, until=stage)
        if as_json:
            from pipeline.core import serde

            click.echo(serde.dumps(results.artifact(stage)), nl=False)
        else:
            engine.show(context, results, stage)
        ctx.exit(engine.exit_code(results))

    return command


fetch = _command("fetch")
sample = _command("sample")
export = _command("export")
canonicalise = _command("canonicalise")
calibrate = _command("calibrate")
probe = _command("probe")
rescale = _command("rescale")
mark = _command("mark")
convert = _command("convert")
compensate = _command("compensate")
build = _command("build")
