"""The search against every plan there is, on models of noise that are small enough to try them all."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.analysis.search import groups
from pipeline.analysis.search.plan_search import PlanSearch
from pipeline.analysis.verdict.judge import Answer
from pipeline.core.artifacts import Direction
from pipeline.core.errors import PrecisionError
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
    """Each node adds power to the noise while it is low; fp32 costs, and so does each border between formats."""

    def __init__(self, powers, prices, cast=0.0, default=()):
        self.members = candidates(len(powers))
        self.names = [member.node for member in self.members]
        self.powers = dict(zip(self.names, powers, strict=True))
        self.prices = dict(zip(self.names, prices, strict=True))
        self.cast, self.default = cast, frozenset(default)
        self.asked = []

    def trial(self, wide):
        self.asked.append(wide)
        noise = math.sqrt(sum(power for name, power in self.powers.items() if name not in wide))
        return Answer(passed=noise <= FLOOR, reason=f"noise {noise:.3g}", noise=noise)

    def price(self, wide):
        borders = sum((one in wide) != (other in wide) for one, other in itertools.pairwise([None, *self.names, None]))
        return sum(self.prices[name] for name in wide) + self.cast * borders

    def search(self, limit=400):
        return PlanSearch(
            groups=groups.of(self.members),
            default=self.default,
            trial=self.trial,
            price=self.price,
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
    assert found.answer.passed
    assert found.price == pytest.approx(world.optimum())


def test_what_the_default_keeps_for_nothing_is_freed_with_one_trial():
    world = World([1e-9] * 60, [1.0] * 60, default=[f"n{index}" for index in range(0, 60, 3)])
    search = world.search()
    found = search.run()
    assert found.wide == frozenset()
    assert list(search.tried).index(frozenset()) == 0


def test_what_the_default_lacks_is_added_and_what_it_has_for_nothing_is_freed():
    powers = [1e-9] * 30
    powers[16] = 1.0  # a product that the default policy leaves low
    world = World(powers, [1.0] * 30, default=[f"n{index}" for index in range(0, 30, 3)])
    assert world.search().run().wide == {"n16"}


def test_groups_are_split_only_where_it_matters():
    """One of 300 nodes matters: found in far fewer trials than there are nodes."""
    powers = [1e-12] * 300
    powers[150] = math.inf
    world = World(powers, [1.0] * 300, default=[f"n{index}" for index in range(0, 300, 3)])
    search = world.search()
    assert search.run().wide == {"n150"}
    assert len(search.tried) < 40


def test_a_group_goes_along_where_it_costs_less_than_the_casts_around_it():
    world = World([math.inf, 1e-9, math.inf], [1.0] * 3, cast=2.0, default=["n0", "n1", "n2"])
    assert world.search().run().wide == {"n0", "n1", "n2"}


def test_a_plan_that_loses_an_attention_is_not_taken_however_cheap_it_is():
    world = World([math.inf, 1e-9, 1e-9], [1.0, 1.0, -5.0], default=["n0", "n1"])
    search = world.search()
    search.limited = lambda wide: (0, int("n2" in wide))
    assert search.run().wide == {"n0"}
    assert World([math.inf, 1e-9, 1e-9], [1.0, 1.0, -5.0], default=["n0", "n1", "n2"]).search().run().wide == {
        "n0",
        "n2",
    }


def test_the_limit_is_kept_and_something_that_passes_is_returned():
    powers = [1e-12] * 300
    powers[150] = math.inf
    world = World(powers, [1.0] * 300, default=[f"n{index}" for index in range(0, 300, 3)])
    search = world.search(limit=6)
    assert search.run().answer.passed
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
    found = search.run()
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
