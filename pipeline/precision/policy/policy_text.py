"""A policy file that adds nodes in fp32 to a policy, as text."""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping

from pipeline.precision.policy.policy_file import Patterns, Settings
from pipeline.precision.rules import RULES


def with_fp32(settings: Settings, nodes: Mapping[str, str], *, head: str) -> str:
    """The text of a policy file.

    Args:
        settings: The policy. Patterns of `engine.toml` itself are left out: they go on holding beside the file.
        nodes: Names of the nodes to add, each with a comment.
        head: First lines, as a comment.
    """
    lines = [f"# {line}" for line in head.splitlines()]
    lines += [f'default = "{settings.base}"', "", *fp32_lines(nodes, known=settings.fp32[0])]
    for key, groups in (("bf16", settings.bf16), ("fp16", settings.fp16)):
        if groups[0].patterns:
            lines += ["", f"{key} = [", *(f"  {json.dumps(pattern)}," for pattern in groups[0].patterns), "]"]
    lines += ["", "[rules]", *(f"{rule} = {str(rule in settings.rules).lower()}" for rule in RULES)]
    return "\n".join(lines) + "\n"


def fp32_lines(nodes: Mapping[str, str], known: Patterns | None = None) -> list[str]:
    """The key `fp32` as lines of TOML; names are escaped, so that each matches its node only."""
    old = [f"  {json.dumps(pattern)}," for pattern in (known.patterns if known else ())]
    new = [f"  {json.dumps(glob.escape(name))},  # {comment}" for name, comment in nodes.items()]
    return ["fp32 = [", *old, *new, "]"]
