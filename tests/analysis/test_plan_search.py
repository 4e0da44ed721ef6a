"""The search against every plan there is, on models of noise that are small enough to try them all."""

import dataclasses
import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.search import groups
from pipeline.analysis.search.choice import WORTH, Tried, choose
from pipeline.analysis.search.plan_search import PlanSearch
from pipeline.analysis.verdict.judge import Answer
from pipeline.core.artifacts import Direction
from pipeline.core.errors import PrecisionError
from pipeline.precision.costing.cost import RESOLUTION, Cost
from pipeline.precision.policy.search_space import Candidate

FLOOR = 1e-2


def candidates(count, kinds=("norm", "product", "elementwise")):
    """In a chain: layer 0 holds the first of each kind, layer 1 the second, and so on."""
    return [
        Candidate(
            node=f"n{index}",
            op="Op",
            kind=kinds[index % len(kinds)],
            module=f"layer.{index // len(kinds)}",
            position=index,
        )
        for index in range(count)
    ]


class World:
    """Each node adds power to the noise while it is low; fp32 costs, and so does each border between formats.

    All plans cost `base` besides; with a large one they are near ties.
    """

    def __init__(self, powers, prices, cast=0.0, default=(), base=0.0):
        self.members = candidates(len(powers))
        self.names = [member.node for member in self.members]
        self.powers = dict(zip(self.names, powers, strict=True))
        self.prices = dict(zip(self.names, prices, strict=True))
        self.cast, self.default, self.base = cast, frozenset(default), base
        self.asked = []

    def trial(self, wide):
        self.asked.append(wide)
        noise = math.sqrt(sum(power for name, power in self.powers.items() if name not in wide))
        return Answer(passed=noise <= FLOOR, reason=f"noise {noise:.3g}", noise=noise)

    def price(self, wide):
        borders = sum((one in wide) != (other in wide) for one, other in itertools.pairwise([None, *self.names, None]))
        return self.base + sum(self.prices[name] for name in wide) + self.cast * borders

    def cost(self, wide):
        return Cost(counted=self.price(wide), fp32_nodes=len(wide))

    def search(self, limit=400):
        return PlanSearch(
            groups=groups.of(self.members),
            default=self.default,
            trial=self.trial,
            cost=self.cost,
            floor=FLOOR,
            limit=limit,
        )

    def optimum(self):
        plans = (
            frozenset(chosen)
            for size in range(len(self.names) + 1)
            for chosen in itertools.combinations(self.names, size)
        )
        return min(self.price(plan) for plan in plans if self.trial(plan).passed)


@settings(max_examples=40, deadline=None)
@given(
    powers=st.lists(st.sampled_from([1e-7, 1e-6, 4e-5, 1e-2, math.inf]), min_size=2, max_size=8),
    data=st.data(),
)
def test_what_is_found_is_as_cheap_as_the_best_of_all_plans(powers, data):
    prices = data.draw(st.lists(st.sampled_from([1.0, 2.0, 5.0]), min_size=len(powers), max_size=len(powers)))
    cast = data.draw(st.sampled_from([0.0, 0.6, 3.0]))
    default = data.draw(st.sets(st.sampled_from([f"n{index}" for index in range(len(powers))])))
    world = World(powers, prices, cast, default)
    found = world.search().run()
    assert found.taken.answer.passed
    assert found.cheapest.cost.total == pytest.approx(world.optimum())
    assert found.taken.cost.total <= found.cheapest.cost.total * (1 + RESOLUTION)


def test_one_node_is_exchanged_for_a_cheaper_run_of_others():
    world = World([1e-7, 1e-7, 4e-5, 4e-5, 1e-7, 1e-2, 1e-7, 4e-5], [1.0] * 8, cast=0.6)
    assert world.search().run().cheapest.cost.total == pytest.approx(4.2)  # n3 to n5, not n2 and n5 with four casts


def test_what_the_default_keeps_for_nothing_is_freed_with_one_trial():
    world = World([1e-9] * 60, [1.0] * 60, default=[f"n{index}" for index in range(0, 60, 3)])
    search = world.search()
    found = search.run().taken
    assert found.wide == frozenset()
    assert list(search.tried).index(frozenset()) == 0


def test_what_the_default_lacks_is_added_and_what_it_has_for_nothing_is_freed():
    powers = [1e-9] * 30
    powers[16] = 1.0  # a product that the default policy leaves low
    world = World(powers, [1.0] * 30, default=[f"n{index}" for index in range(0, 30, 3)])
    assert world.search().run().taken.wide == {"n16"}


def test_groups_are_split_only_where_it_matters():
    """One of 300 nodes matters: found in far fewer trials than there are nodes."""
    powers = [1e-12] * 300
    powers[150] = math.inf
    world = World(powers, [1.0] * 300, default=[f"n{index}" for index in range(0, 300, 3)])
    search = world.search()
    assert search.run().taken.wide == {"n150"}
    assert len(search.tried) < 40


def test_a_group_goes_along_where_it_costs_less_than_the_casts_around_it():
    world = World([math.inf, 1e-9, math.inf], [1.0] * 3, cast=2.0, default=["n0", "n1", "n2"])
    assert world.search().run().taken.wide == {"n0", "n1", "n2"}


def test_a_plan_that_loses_an_attention_is_not_taken_however_cheap_it_is():
    world = World([math.inf, 1e-9, 1e-9], [1.0, 1.0, -5.0], default=["n0", "n1"], base=10.0)
    search = world.search()
    search.cost = lambda wide: dataclasses.replace(world.cost(wide), attentions_lost=int("n2" in wide))
    assert search.run().taken.wide == {"n0"}
    world = World([math.inf, 1e-9, 1e-9], [1.0, 1.0, -5.0], default=["n0", "n1", "n2"], base=10.0)
    assert world.search().run().taken.wide == {"n0", "n2"}


LOUD_HEAD = [1e-7, 1e-7, 1e-7, 1e-7, 3e-6, 1e-7]
"""Noise that is nearly all of node n4's."""


def test_of_plans_that_cost_as_good_as_the_same_the_one_of_half_the_error_is_taken():
    world = World(LOUD_HEAD, [1.0] * 6, default=["n0", "n3", "n5"], base=1e4)
    found = world.search().run()
    assert found.cheapest.wide == frozenset()
    assert found.taken.wide == {"n1", "n4"}  # products of all layers are one group
    assert found.taken.cost.total > found.cheapest.cost.total
    assert found.taken.answer.noise < found.cheapest.answer.noise / WORTH


def test_less_than_half_the_error_is_not_worth_a_node_in_fp32():
    world = World([1e-7] * 6, [1.0] * 6, default=["n0", "n1", "n2", "n3"], base=1e4)
    search = world.search()
    found = search.run()
    assert found.taken == found.cheapest
    assert min(item.answer.noise for item in search.passing()) < found.cheapest.answer.noise


def test_what_costs_more_than_the_resolution_is_not_taken_however_accurate():
    world = World(LOUD_HEAD, [1.0] * 4 + [150.0, 1.0], default=["n0", "n3", "n5"], base=1e4)
    found = world.search().run()
    assert found.taken.wide == found.cheapest.wide == frozenset()


@pytest.mark.parametrize(("name", "value"), [("kernels", 9), ("casts", 1), ("attentions_lost", 1)])
def test_a_near_tie_with_another_kernel_or_more_casts_than_the_default_is_not_taken(name, value):
    world = World(LOUD_HEAD, [1.0] * 6, default=["n0", "n3", "n5"], base=1e4)
    search = world.search()
    search.cost = lambda wide: dataclasses.replace(world.cost(wide), **{name: value * ("n4" in wide)})
    assert "n4" not in search.run().taken.wide


def test_a_near_tie_has_fewer_nodes_in_fp32_than_the_default_policy():
    world = World(LOUD_HEAD, [1.0] * 6, default=["n0"], base=1e4)
    assert world.search().run().taken.wide == frozenset()


def test_of_plans_as_good_as_each_other_the_one_with_fewer_casts_is_taken_then_with_fewer_nodes():
    def tried(noise, casts, nodes, counted=100.0):
        answer = Answer(passed=True, reason="", noise=noise)
        cost = Cost(counted=counted, casts=casts, fp32_nodes=nodes)
        return Tried(wide=frozenset({f"{casts} {nodes}"}), label="", answer=answer, cost=cost)

    default = tried(1e-9, 9, 9, counted=200.0)
    plans = [tried(4e-3, 0, 0, counted=99.5), tried(1e-3, 6, 1), tried(1.9e-3, 5, 3), tried(2e-3, 5, 2), default]
    found = choose(plans, default)
    assert (found.cheapest, found.taken) == (plans[0], plans[3])


def test_gains_at_no_cost_are_found_in_few_trials():
    """Of 300 nodes in layers two classes are loud: added one after the other, no others with them."""
    powers = [1e-12] * 300
    for index in range(1, 300, 3):
        powers[index] = 1e-9
    world = World(powers, [1.0] * 300, default=[f"n{index}" for index in range(150)], base=1e7)
    search = world.search()
    found = search.run()
    assert found.taken.wide == {f"n{index}" for index in range(1, 150, 3)} or len(found.taken.wide) < 150
    assert len(search.tried) < 40


def test_the_limit_is_kept_and_something_that_passes_is_returned():
    powers = [1e-12] * 300
    powers[150] = math.inf
    world = World(powers, [1.0] * 300, default=[f"n{index}" for index in range(0, 300, 3)])
    search = world.search(limit=6)
    assert search.run().taken.answer.passed
    assert len(search.tried) <= 6


def test_nothing_that_passes_is_an_error():
    class Hopeless(World):
        def trial(self, wide):
            return Answer(passed=False, reason="output y: NaN", noise=math.inf)

    with pytest.raises(PrecisionError) as error:
        Hopeless([1.0] * 6, [1.0] * 6).search().run()
    assert str(error.value).startswith(
        "no plan meets the error budget, not even with everything in fp32 that may be: output y: NaN"
    )


def test_changes_say_which_way_they_go():
    world = World([math.inf] + [1e-9] * 5, [1.0] * 6, default=["n0", "n3"])
    search = world.search()
    found = search.run().taken
    assert found.wide == {"n0"}
    assert [(change.direction, change.nodes) for change in found.changes] == [(Direction.FREED, ("n3",))]
    assert found.label == "Op n3 freed"


def test_labels_say_what_and_where():
    members = candidates(9)
    by_kind = groups.of(members)
    assert [group.label for group in by_kind] == [
        "3 normalisations of layer.* (0 to 2)",
        "3 products of layer.* (0 to 2)",
        "3 elementwise nodes of layer.* (0 to 2)",
    ]
    assert [part.label for part in groups.split(by_kind[0])] == ["Op n0", "Op n3", "Op n6"]
