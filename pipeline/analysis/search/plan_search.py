"""The cheapest plan within an error budget, among those that differ in which candidates are fp32.

Errors of groups that round independently add up as powers, and that is how they are foretold; each plan that is taken
was tried as a whole. The search goes both ways: from a plan that passes it frees what saves cost, the cheapest error
first, and splits a group only where it fails as a whole; and it adds what lowers the cost, because Casts go with it.
At the end it adds what lowers the error at no cost that could be told; `choice` says which plan is taken.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from pipeline.analysis.search import groups as groups_
from pipeline.analysis.search.choice import Choice, Tried, Wide, choose
from pipeline.analysis.search.groups import Group, classes, roles, split, structural, within
from pipeline.analysis.verdict.judge import Answer
from pipeline.core.artifacts import Change, Direction
from pipeline.core.errors import PrecisionError
from pipeline.precision.costing.cost import Cost
from pipeline.precision.policy.search_space import Candidate
from pipeline.precision.reducers.differences import decibels

FEW, FEWEST = 24, 12
"""Candidates up to which modules and single nodes, and pairs of nodes, are tried when a plan is improved."""

STEPS = 6
"""Points that the frontier is continued by, above the cheapest plan."""


@dataclass(slots=True, kw_only=True)
class PlanSearch:
    """One search.

    Attributes:
        groups: All candidates, one group a kind.
        default: The default policy's plan.
        trial: What a plan does.
        cost: What it costs.
        floor: Noise to signal that the budget allows, as a ratio of norms.
        limit: Plans that may be tried.
        tried: Those that were, in order.
        base: The plan beside which groups are measured: of the least fp32 where that passes, else the first that does.
    """

    groups: tuple[Group, ...]
    default: Wide
    trial: Callable[[Wide], Answer]
    cost: Callable[[Wide], Cost]
    floor: float
    limit: int
    tried: dict[Wide, Tried] = field(default_factory=dict)
    base: Wide = frozenset()

    def run(self) -> Choice:
        """Search.

        Returns:
            The plan that is taken, and the cheapest that passes.

        Raises:
            PrecisionError: Nothing passes.
        """
        least = self._try(frozenset(), "least fp32")
        default = self._try(self.default, "default policy", since=least)
        fits = least.answer.passed and self._allowed(least.wide)
        start = least if fits else self._first_that_passes(default)
        self.base = start.wide
        self._improve(self._free(start))
        self._climb(self.choice().cheapest)
        return self.choice()

    def choice(self) -> Choice:
        """What is chosen of the plans so far."""
        return choose(self.passing(), self.tried[self.default])

    def passing(self) -> list[Tried]:
        """Plans so far that pass, with no more Casts or lost attentions than the default policy's where that passes."""
        return [item for item in self.tried.values() if item.answer.passed and self._allowed(item.wide)]

    def measure(self) -> dict[Group, Tried]:
        """Each class of groups alone: added to the plan of the least fp32, or changed in the default one.

        Returns:
            The plan that tells what each buys.
        """
        base = self.tried[self.base]
        found: dict[Group, Tried] = {}
        for group in self._classes():
            wide = base.wide - group.nodes if group.nodes <= base.wide else base.wide | group.nodes
            if self._has_room() or wide in self.tried:
                found[group] = self._try(wide, _changed(base.wide, wide, (group,)), since=base)
        return found

    def gain(self, plan: Tried) -> float:
        """What its group buys in dB, from a plan of `measure`: the noise without it in fp32, over that with it."""
        base = self.tried[self.base]
        without, with_ = (base, plan) if base.wide < plan.wide else (plan, base)
        return decibels(with_.answer.noise) - decibels(without.answer.noise)

    def added_price(self, plan: Tried) -> float:
        """What its group costs in fp32."""
        base = self.tried[self.base]
        difference = plan.cost.total - base.cost.total
        return difference if base.wide < plan.wide else -difference

    def _classes(self) -> list[Group]:
        """Kinds by place in the module tree, and by whether the default policy has them in fp32."""
        parts = [part for group in self.groups for part in classes(group)]
        inside = within(parts, self.default)
        rest = frozenset(node for part in parts for node in part.nodes) - self.default
        return [*inside, *within(parts, rest)]

    def _first_that_passes(self, start: Tried) -> Tried:
        """The default policy's plan or, where that fails, with one more kind after another, the cheapest first."""
        kinds = sorted(
            self.groups, key=lambda group: (group.kind == "attention", self._price(start.wide | group.nodes))
        )
        for group in kinds:
            if start.answer.passed:
                return start
            if group.nodes <= start.wide:
                continue
            start = self._try(start.wide | group.nodes, f"with {group.label} in fp32", since=start, groups=(group,))
        if not start.answer.passed:
            raise PrecisionError(
                f"no plan meets the error budget, not even with everything in fp32 that may be: {start.answer.reason}",
                hint="widen the budget, or see with `trt-pipeline compare` what else differs",
            )
        return start

    def _free(self, plan: Tried) -> Tried:
        """Free what saves cost, as long as it passes; split what does not pass as a whole."""
        level = within(self.groups, plan.wide)
        while level and self._has_room():
            measured = {
                group: self._without(plan, (group,))
                for group in level
                if self._saves(plan, group.nodes) and self._has_room()
            }
            unmeasured = [group for group in level if group not in measured and structural(group)]
            passing = [group for group, found in measured.items() if found.answer.passed]
            plan = self._pack(plan, sorted(passing, key=lambda group: self._rate(plan, measured[group])), measured)
            level = tuple(child for left in within([*measured, *unmeasured], plan.wide) for child in split(left))
        return plan

    def _pack(self, plan: Tried, passing: Sequence[Group], measured: dict[Group, Tried]) -> Tried:
        """Free as many of groups that pass alone as pass together: as many as foretold, then one by one."""
        powers = [max(0.0, measured[group].answer.noise ** 2 - plan.answer.noise**2) for group in passing]
        sums = list(itertools.accumulate(powers, initial=plan.answer.noise**2))
        count = max(1, sum(total <= self.floor**2 for total in sums[1:])) if passing else 0
        packed = plan
        while count > 1 and self._has_room():
            nodes = frozenset(node for group in passing[:count] for node in group.nodes)
            if self._saves(plan, nodes) and (together := self._without(plan, passing[:count])).answer.passed:
                packed = together
                break
            count //= 2
        if count == 1:
            packed = measured[passing[0]]
        for group, power in zip(passing[count:], powers[count:], strict=True):
            if (
                packed.answer.noise**2 + power <= self.floor**2
                and self._saves(packed, group.nodes)
                and self._has_room()
            ):
                further = self._without(packed, (group,))
                packed = further if further.answer.passed else packed
        return packed

    def _improve(self, plan: Tried) -> Tried:
        """Take any move that lowers the cost and passes, until there is none."""
        while self._has_room():
            moves = sorted(self._moves(plan.wide), key=lambda move: self._price(move[0]))
            cheaper = (
                move
                for move in moves
                if self._price(move[0]) < plan.cost.total and self._allowed(move[0]) and self._may_pass(move[0])
            )
            better = None
            for wide, groups in cheaper:
                found = self._try(wide, _changed(plan.wide, wide, groups), since=plan, groups=groups)
                if found.answer.passed:
                    better = found
                    break
                if not self._has_room():
                    break
            if better is None:
                return plan
            plan = better
        return plan

    def _moves(self, wide: Wide) -> Iterator[tuple[Wide, tuple[Group, ...]]]:
        """Plans one step away: a class, a role; in small graphs a module, a node, any run of nodes, one for others."""
        order = [member for group in self.groups for member in group.members]
        order.sort(key=lambda member: member.position)
        steps: list[tuple[Group, ...]] = [(role,) for group in self._classes() for role in (group, *roles(group))]
        if len(order) <= FEW:
            steps += [groups_.of(part) for part in _modules(order) if any(member.node in wide for member in part)]
            steps += [groups_.of((member,)) for member in order]
        if len(order) <= FEWEST:
            steps += [groups_.of(run) for run in _runs(order)]
        for groups in steps:
            nodes = frozenset(node for group in groups for node in group.nodes)
            yield from ((changed, groups) for changed in (wide - nodes, wide | nodes) if changed != wide)
        if len(order) <= FEWEST:
            for one, other in itertools.combinations(order, 2):
                yield wide ^ {one.node, other.node}, groups_.of((one, other))
            for run, one in itertools.product(_runs(order), order):
                if one.node in wide and one not in run:
                    yield wide.union(member.node for member in run) - {one.node}, groups_.of((*run, one))

    def _may_pass(self, wide: Wide) -> bool:
        """Whether no plan with as much in fp32, and more, failed."""
        return not any(wide <= item.wide for item in self.tried.values() if not item.answer.passed)

    def _climb(self, cheapest: Tried) -> None:
        """Continue the frontier above the cheapest plan: first at no cost that can be told, then by gain for cost."""
        measured = self.measure()
        gains = {group: self.gain(found) for group, found in measured.items()}
        costs = {group: max(self.added_price(found), 1e-9) for group, found in measured.items()}
        offers = sorted((group for group, gain in gains.items() if gain > 0), key=lambda group: -gains[group])
        plan, left = cheapest, STEPS
        for group in offers:
            wide = plan.wide | group.nodes
            if left and wide != plan.wide and self._has_room() and self._replaces(wide, cheapest):
                found, left = self._with(plan, group), left - 1
                plan = found if found.answer.noise < plan.answer.noise else plan
        for group in sorted(offers, key=lambda group: -gains[group] / costs[group]):
            if left and not group.nodes <= plan.wide and self._has_room():
                plan, left = self._with(plan, group), left - 1

    def _replaces(self, wide: Wide, cheapest: Tried) -> bool:
        """Whether a plan may be taken instead of the cheapest, as far as cost goes."""
        cost, default = self.cost(wide), self.cost(self.default)
        return cost.ties(cheapest.cost) and cost.fp32_nodes < default.fp32_nodes and self._allowed(wide)

    def _with(self, plan: Tried, group: Group) -> Tried:
        wide = plan.wide | group.nodes
        return self._try(wide, _changed(plan.wide, wide, (group,)), since=plan, groups=(group,))

    def _without(self, plan: Tried, groups: Sequence[Group]) -> Tried:
        wide = plan.wide.difference(*(group.nodes for group in groups))
        return self._try(wide, _changed(plan.wide, wide, groups), since=plan, groups=groups)

    def _saves(self, plan: Tried, nodes: Wide) -> bool:
        """Whether freeing `nodes` is cheaper and allowed."""
        return self._price(plan.wide - nodes) < plan.cost.total and self._allowed(plan.wide - nodes)

    def _price(self, wide: Wide) -> float:
        return self.cost(wide).total

    def _allowed(self, wide: Wide) -> bool:
        cost, most = self.cost(wide), self.cost(self.default)
        kept = cost.casts <= most.casts and cost.attentions_lost <= most.attentions_lost
        return kept or not self.tried[self.default].answer.passed

    def _rate(self, plan: Tried, freed: Tried) -> float:
        """Noise power for each unit of cost saved."""
        return (freed.answer.noise**2 - plan.answer.noise**2) / max(plan.cost.total - freed.cost.total, 1e-9)

    def _try(self, wide: Wide, label: str, *, since: Tried | None = None, groups: Iterable[Group] = ()) -> Tried:
        if wide not in self.tried:
            self.tried[wide] = Tried(
                wide=wide,
                label=label,
                answer=self.trial(wide),
                cost=self.cost(wide),
                changes=_changes(since.wide, wide, tuple(groups) or self.groups) if since is not None else (),
                since=None if since is None else since.wide,
            )
        return self.tried[wide]

    def _has_room(self) -> bool:
        return len(self.tried) < self.limit


def _runs(members: Sequence[Candidate]) -> list[Sequence[Candidate]]:
    """Members that follow each other, from one to all."""
    return [members[start:end] for start, end in itertools.combinations(range(len(members) + 1), 2)]


def _modules(members: Iterable[Candidate]) -> list[list[Candidate]]:
    """The candidates of each module, of its submodules included."""
    found: dict[str, list[Candidate]] = {}
    for member in members:
        for module in itertools.accumulate(member.module.split("."), "{}.{}".format):
            found.setdefault(module, []).append(member)
    return list(found.values())


def _changed(before: Wide, after: Wide, groups: Iterable[Group]) -> str:
    parts = [(group, group.nodes & (before ^ after)) for group in groups]
    return "; ".join(
        f"{group.label} {'in fp32' if changed <= after else 'freed'}" for group, changed in parts if changed
    )


def _changes(before: Wide, after: Wide, groups: Iterable[Group]) -> tuple[Change, ...]:
    found = []
    for direction, nodes in ((Direction.FREED, before - after), (Direction.ADDED, after - before)):
        found += [
            Change(group=part.label, direction=direction, nodes=tuple(member.node for member in part.members))
            for part in within(groups, nodes)
        ]
    return tuple(found)
