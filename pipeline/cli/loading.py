"""What `run` and `bench` share: a verified bundle, and whatever of this machine can run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipeline.core.errors import PipelineError

if TYPE_CHECKING:
    from pipeline.bundle.opening import Opened
    from pipeline.runtime import Engine

F = TypeVar("F", bound=Callable[..., Any])

AUTO, ENGINE, EMULATED = "auto", "engine", "emulated"


def bundle_options(command: F) -> F:
    """The argument BUNDLE, and the options of loading one."""
    for option in (
        click.option("--plan", metavar="PATH", help="Plan of the bundle to run. Default: the first that fits."),
        click.option(
            "--backend",
            type=click.Choice([AUTO, ENGINE, EMULATED]),
            default=AUTO,
            show_default=True,
            help="engine needs a GPU; emulated is the CPU; auto is the engine where one of the plans fits.",
        ),
        key_option,
        click.argument("bundle", type=click.Path(path_type=Path, exists=True)),
    ):
        command = option(command)
    return command


def key_option(command: F) -> F:
    """The option `--key`."""
    return click.option(
        "--key",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="PUB",
        help="Public key that must have signed the bundle.",
    )(command)


@contextmanager
def loaded(bundle: Path, *, key: Path | None, backend: str, plan: str | None) -> Iterator[tuple[Engine, Opened]]:
    """Verify a bundle and load it; says on stderr what has to be known of it.

    Raises:
        PipelineError: See `pipeline.runtime.load`.
    """
    from pipeline.bundle import opening

    with opening.opened(bundle, key=key) as verified:
        for warning in verified.proof.warnings:
            click.echo(f"{click.style('note:', fg='yellow')} {warning}", err=True)
        with _start(verified, backend, plan) as engine:
            if engine.note is not None:
                click.echo(f"{click.style('NOT THE ENGINE:', fg='yellow', bold=True)} {engine.note}", err=True)
            yield engine, verified


def _start(verified: Opened, backend: str, plan: str | None) -> Engine:
    from pipeline.core.errors import BackendUnavailable
    from pipeline.runtime.load import emulation, native

    if backend == EMULATED:
        return emulation(verified)
    try:
        return native(verified, plan=plan)
    except BackendUnavailable as error:
        if backend == ENGINE or plan is not None:
            raise
        _say_why(error)
        return emulation(verified)


def _say_why(error: PipelineError) -> None:
    click.echo(f"{click.style('note:', fg='yellow')} {error.what}", err=True)
