"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any])


class EngineName(click.ParamType[str]):
    """The name of a folder below `engines/`; shells complete it."""

    name = "engine"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of this clone's engines that begin like what was typed."""
        from pipeline.cli.context import Context
        from pipeline.core.errors import PipelineError

        try:
            root = Context().root
        except PipelineError:
            return []
        names = sorted(path.parent.name for path in root.glob("engines/*/engine.toml"))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def engine_name(command: F) -> F:
    """The argument NAME."""
    return click.argument("name", type=EngineName())(command)


def as_json(command: F) -> F:
    """The flag `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout, for scripts.")(
        command
    )


def weights(command: F) -> F:
    """The option `--weights`."""
    return click.option(
        "--weights",
        default="auto",
        show_default=True,
        metavar="W",
        help="auto, pretrained, seeded, or the path of a checkpoint.",
    )(command)


def targets(command: F) -> F:
    """The option `--target`."""
    return click.option(
        "--target",
        "targets",
        multiple=True,
        metavar="T",
        help="Compute capability such as 8.9, or gpu; may be given several times. Default: the spec's.",
    )(command)


def run_options(command: F) -> F:
    """What changes a run: weights, policy, targets."""
    policy = click.option(
        "--policy",
        metavar="P",
        help="sensitive, all-fp16, all-fp32, search, or a policy file. Default: the spec's.",
    )
    return weights(policy(targets(command)))
