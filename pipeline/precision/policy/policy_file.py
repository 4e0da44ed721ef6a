"""Policies by name, and policy files: TOML that starts from a named policy and changes it.

default = "sensitive"             # or "all-fp16", "all-fp32"
fp32 = ["encoder.layer.11"]       # patterns over node names and module paths
bf16 = ["encoder.layer.10"]       # likewise, for what needs the range of fp32 and not its precision
fp16 = ["*.intermediate"]         # against the rules, last

[rules]
underflow = false                 # a rule of `pipeline.precision.rules`, on or off
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import SpecError
from pipeline.core.spec import Policy, PrecisionSpec
from pipeline.precision.rules import RULES

BASES = (Policy.SENSITIVE, Policy.ALL_FP16, Policy.ALL_FP32)
"""Policies that decide by themselves, so that a file may start from them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """Patterns and what holds them.

    Attributes:
        patterns: The patterns, in order.
        where: File and key, for errors.
    """

    patterns: tuple[str, ...]
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A policy that has been read.

    Attributes:
        name: Name of the policy or path of its file.
        base: The named policy that it starts from.
        rules: Names of the rules that are asked, in order.
        fp32: Patterns to keep in fp32.
        bf16: Patterns to put in bf16.
        fp16: Patterns to put in the low format.
    """

    name: str
    base: Policy
    rules: tuple[str, ...]
    fp32: tuple[Patterns, ...]
    bf16: tuple[Patterns, ...]
    fp16: tuple[Patterns, ...]


def settings(spec: PrecisionSpec, folder: Path) -> Settings:
    """Read the policy that a spec names.

    Args:
        spec: The `[precision]` table.
        folder: Folder of `engine.toml`, to which a policy file's path is relative.

    Raises:
        SpecError: The file cannot be read or says something invalid.
    """
    shown = Path(*folder.parts[-2:])
    named = spec.policy in BASES
    table: dict[str, Any] = {"default": spec.policy} if named else _read(folder / spec.policy, shown / spec.policy)
    base = Policy(table.get("default", Policy.SENSITIVE))
    own = {key: Patterns(patterns=getattr(spec, key), where=f"{shown}/engine.toml: precision.{key}") for key in _KEYS}
    filed = {key: Patterns(patterns=tuple(table.get(key, ())), where=f"{shown / spec.policy}: {key}") for key in _KEYS}
    return Settings(
        name=spec.policy,
        base=base,
        rules=_active(base, table.get("rules", {})),
        fp32=(filed["fp32"], own["fp32"]),
        bf16=(filed["bf16"], own["bf16"]),
        fp16=(filed["fp16"], own["fp16"]),
    )


_KEYS = ("fp32", "bf16", "fp16")


def _active(base: Policy, switches: dict[str, bool]) -> tuple[str, ...]:
    return tuple(rule for rule in RULES if switches.get(rule, base is Policy.SENSITIVE))


def _read(path: Path, shown: Path) -> dict[str, Any]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SpecError(
            "no such policy file",
            where=str(shown),
            hint=f"a policy is one of {', '.join(Policy)}, or a TOML file beside engine.toml",
        ) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SpecError(f"not readable as TOML: {error}", where=str(shown)) from error
    if problems := list(_problems(table)):
        raise SpecError("\n  ".join(problems), where=str(shown))
    return table


def _problems(table: dict[str, Any]) -> Iterable[str]:
    known = ("default", *_KEYS, "rules")
    for key in table:
        if key not in known:
            yield f"{key}: unknown key; {_nearest(key, known)}"
    default = table.get("default", Policy.SENSITIVE)
    if default not in BASES:
        nearest = _nearest(str(default), BASES)
        yield f"default: found {default!r}, expected one of {', '.join(BASES)}; {nearest}"
    for key in _KEYS:
        patterns = table.get(key, [])
        if not (isinstance(patterns, list) and all(isinstance(pattern, str) for pattern in patterns)):
            yield f"{key}: found {patterns!r}, expected a list of patterns"
    yield from _rule_problems(table.get("rules", {}))


def _rule_problems(switches: Any) -> Iterable[str]:
    if not isinstance(switches, dict):
        yield f"rules: found {switches!r}, expected a table such as underflow = false"
        return
    for rule, on in switches.items():
        if rule not in RULES:
            yield f"rules.{rule}: unknown rule; {_nearest(rule, tuple(RULES))}"
        elif not isinstance(on, bool):
            yield f"rules.{rule}: found {on!r}, expected true or false"


def _nearest(name: str, known: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known here: {', '.join(known)}"
