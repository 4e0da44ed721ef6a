"""Nodes that are tried together: by what they do, then along the `nn.Module` tree, then piece by piece."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.precision.policy.search_space import Candidate

MANY = 4
"""Modules of one kind that are still tried one by one; more are halved by depth."""

_WORDS = {
    "norm": "normalisations",
    "softmax": "softmaxes",
    "attention": "attention products",
    "product": "products",
    "reduction": "reductions",
    "elementwise": "elementwise nodes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Candidates of one kind, in graph order."""

    members: tuple[Candidate, ...]

    @property
    def nodes(self) -> frozenset[str]:
        """Their names."""
        return frozenset(member.node for member in self.members)

    @property
    def kind(self) -> str:
        """What they do."""
        return self.members[0].kind

    @property
    def module(self) -> str:
        """The module that holds all of them, or ""."""
        levels = zip(*(member.module.split(".") for member in self.members), strict=False)
        return ".".join(level[0] for level in itertools.takewhile(lambda level: len(set(level)) == 1, levels))

    @property
    def label(self) -> str:
        """The group in words."""
        if len(self.members) == 1:
            member = self.members[0]
            return f"{member.op} {member.node}"
        modules = list(dict.fromkeys(member.module for member in self.members))
        places = list(dict.fromkeys(map(_place, modules)))
        where = modules[0] if len(modules) == 1 else places[0] if len(places) == 1 else self.module
        some = len(modules) > 1 and where == places[0] and "*" in where
        span = f" ({_numbers(modules[0])} to {_numbers(modules[-1])})" if some else ""
        return f"{len(self.members)} {_WORDS[self.kind]}" + (f" of {where}{span}" if where else "")


def of(candidates: Iterable[Candidate]) -> tuple[Group, ...]:
    """One group a kind."""
    return _by(candidates, lambda member: member.kind)


def within(groups: Iterable[Group], nodes: Collection[str]) -> tuple[Group, ...]:
    """What of each group is among `nodes`; groups without any are left out."""
    kept = (tuple(member for member in group.members if member.node in nodes) for group in groups)
    return tuple(Group(members=members) for members in kept if members)


def classes(group: Group) -> tuple[Group, ...]:
    """Its parts by place in the module tree, layers of the same place together."""
    return _by(group.members, lambda member: _place(member.module))


def roles(group: Group) -> tuple[Group, ...]:
    """Its parts by what they are in every layer: place in the module tree, and operator."""
    return _by(group.members, lambda member: (_place(member.module), member.op))


def structural(group: Group) -> bool:
    """Whether `split` takes it apart by place or operator, not merely by layer."""
    return len(roles(group)) > 1


def split(group: Group) -> tuple[Group, ...]:
    """Its parts: by place in the module tree, by operator, by module, then single nodes; many are halved by depth."""
    if len(group.members) == 1:
        return ()
    for parts in (classes(group), roles(group), _by(group.members, lambda member: member.module)):
        if len(parts) > 1:
            break
    else:
        parts = tuple(Group(members=(member,)) for member in group.members)
    return parts if len(parts) <= MANY or structural(group) else _halves(parts)


def _halves(parts: Sequence[Group]) -> tuple[Group, ...]:
    middle = len(parts) // 2
    return tuple(
        Group(members=tuple(member for part in half for member in part.members))
        for half in (parts[:middle], parts[middle:])
    )


def _by(members: Iterable[Candidate], key: Callable[[Candidate], Hashable]) -> tuple[Group, ...]:
    found: dict[Hashable, list[Candidate]] = {}
    for member in members:
        found.setdefault(key(member), []).append(member)
    return tuple(Group(members=tuple(part)) for part in found.values())


def _numbers(module: str) -> str:
    """The numbers of layers in a module's path."""
    return ".".join(part for part in module.split(".") if part.isdigit())


def _place(module: str) -> str:
    """A module's path with `*` for the numbers of layers."""
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", module)
