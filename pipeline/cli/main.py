"""The `trt-pipeline` command: finds a command's module only when that command is asked for."""

from __future__ import annotations

import importlib
import sys
import traceback
from typing import Any

import click

from pipeline.cli import exit_codes
from pipeline.cli.context import Context
from pipeline.cli.exit_codes import ExitCode
from pipeline.core.errors import BackendUnavailable, PipelineError

COMMANDS = {
    "engine": "engine:engine",
    "list": "engines:list_engines",
    "init": "init:init",
    "inspect": "inspect:inspect",
    "search": "search:search",
    "bisect": "bisect:bisect",
    "compare": "compare:compare",
    "regress": "regress:regress",
    "baseline": "baseline:baseline",
    "doctor": "doctor:doctor",
    "verify": "verify:verify",
    "keygen": "ship:keygen",
    "run": "run:run",
    "bench": "bench:bench",
    "rebuild": "rebuild:rebuild",
    "layout": "layout:layout",
    "clean": "clean:clean",
    "fetch": "stages:fetch",
    "sample": "stages:sample",
    "export": "stages:export",
    "canonicalise": "stages:canonicalise",
    "calibrate": "stages:calibrate",
    "probe": "stages:probe",
    "rescale": "stages:rescale",
    "mark": "stages:mark",
    "convert": "stages:convert",
    "compensate": "stages:compensate",
    "build": "stages:build",
    "validate": "validate:validate",
    "ship": "ship:ship",
}
"""Command name to `module:attribute` below `pipeline.cli`, in the order that `--help` lists them."""

EPILOG = f"""\b
Exit codes:
{exit_codes.table()}

\b
Shell completion (bash; zsh and fish likewise):
  eval "$(_TRT_PIPELINE_COMPLETE=bash_source trt-pipeline)"
"""


EXTRAS = (
    "pip install 'trt-pipeline[build]' brings all but TensorRT proper; on a machine that only takes bundles: "
    "'trt-pipeline[run]' to run their emulation, '[gpu]' to run their plans, '[rebuild]' to rebuild them"
)


class Commands(click.Group):
    """A group that imports the module of a command when it is used, and prints errors as what they are."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the line."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(f"pipeline.cli.{module}"), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error that the user can mend ends it without a traceback."""
        try:
            return super().invoke(ctx)
        except PipelineError as error:
            self._fail(ctx, error)
        except ModuleNotFoundError as error:
            if (error.name or "pipeline").partition(".")[0] == "pipeline":
                raise
            self._fail(ctx, BackendUnavailable(f"this needs {error.name}, which is not installed", hint=EXTRAS))
        except KeyboardInterrupt:
            click.echo("\ninterrupted; finished stages are kept", err=True)
            ctx.exit(ExitCode.INTERRUPTED)

    @staticmethod
    def _fail(ctx: click.Context, error: PipelineError) -> None:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
        ctx.exit(error.exit_code)


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trt-pipeline", message="%(package)s %(version)s")
@click.option("-v", "--verbose", count=True, help="Say more: every stage that is reused, every step.")
@click.option("-q", "--quiet", is_flag=True, help="Say only what went wrong and the verdict.")
@click.pass_context
def cli(ctx: click.Context, verbose: int, quiet: bool) -> None:
    """From a PyTorch model to a validated mixed-precision TensorRT plan, with or without a GPU."""
    ctx.obj = Context(verbosity=-1 if quiet else verbose)


def main() -> None:
    """Entry point of the `trt-pipeline` script."""
    try:
        cli(prog_name="trt-pipeline")
    except Exception:  # noqa: BLE001 (whatever escapes is a bug, and says so with its traceback)
        traceback.print_exc()
        click.echo("\nthis is a bug of trt-pipeline; please report it with the lines above", err=True)
        sys.exit(ExitCode.BUG)
