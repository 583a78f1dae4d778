"""Whose jobs go next, and when a campaign pauses by itself."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from jobs.slots.plan import PURGED_FAILED, PURGED_FINISHED, RANKS_A_PRIORITY, Contender, Plan, Ready, next_in_turn


def contender(name: str, ready: int = 100, held: int = 0, urgency: int = 9, first: int = 0, **plan: float) -> Contender:
    """`urgency`: 9 minus the priority, as in a rank; `first`: the age of its first job."""
    ids = [Ready(f"{name}{number}", urgency * RANKS_A_PRIORITY + first + number) for number in range(ready)]
    return Contender(name, Plan.model_validate(plan), {"running": held}, ids)


def anywhere(_: str) -> str:
    return "default"


def shares(*contenders: Contender, count: int) -> Mapping[str, int]:
    return Counter(one.name for _, one, *_ in next_in_turn(contenders, count, anywhere))


def test_a_big_campaign_does_not_starve_a_small_one() -> None:
    assert shares(contender("a", ready=1000), contender("b", ready=10, first=5000), count=20) == {"a": 10, "b": 10}


def test_slots_that_are_held_already_count() -> None:
    assert shares(contender("a", held=6), contender("b"), count=8) == {"a": 1, "b": 7}


def test_weights_share_the_slots() -> None:
    assert shares(contender("a", weight=3), contender("b"), count=12) == {"a": 9, "b": 3}


def test_priority_goes_before_fairness() -> None:
    mixed = contender("b", ready=5, urgency=8, first=99)
    assert shares(contender("a"), mixed, count=8) == {"b": 5, "a": 3}


def test_within_a_campaign_the_order_of_ranks_is_kept_and_ties_go_to_the_oldest() -> None:
    old, young = contender("a", ready=3, first=10), contender("b", ready=3, first=20)
    assert [job for job, *_ in next_in_turn([young, old], 6, anywhere)] == ["a0", "b0", "a1", "b1", "a2", "b2"]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 5), st.integers(0, 9)), max_size=5), st.integers(0, 30))
def test_no_room_is_left_unused_and_nobody_goes_twice(shape: list[tuple[int, int, int]], count: int) -> None:
    """No slot idles."""
    all_of_them = [contender(f"c{n}-", ready, held, urgency) for n, (ready, held, urgency) in enumerate(shape)]
    chosen = [job for job, *_ in next_in_turn(all_of_them, count, anywhere)]
    assert len(chosen) == len(set(chosen)) == min(count, sum(len(one.ready) for one in all_of_them))


def test_a_budget_bounds_what_goes() -> None:
    spent = {"submissions": 4, "uncertain": 1, "released": 1, "submitting": 1, "running": 3}
    bounded = replace(contender("a", max_submissions=9), counts=spent)
    assert shares(bounded, contender("b", held=99), count=9) == {"a": 2, "b": 7}


@pytest.mark.parametrize(
    ("plan", "counts", "kind"),
    [
        ({}, {"failed": 1000, "submissions": 10**6}, None),
        ({"max_submissions": 5}, {"submissions": 4}, None),
        ({"max_submissions": 5}, {"submissions": 4, "released": 1}, None),
        ({"max_submissions": 5}, {"submissions": 4, "uncertain": 1}, "budget"),
        ({"stop_after_failures": 0.2}, {"failed": 9}, None),
        ({"stop_after_failures": 0.2}, {"failed": 1, "parked": 1, "succeeded": 8}, "failures"),
        ({"stop_after_failures": 0.2}, {"failed": 1, "succeeded": 9}, None),
        ({"stop_after_failures": 1}, {"failed": 10}, "failures"),
    ],
)
def test_a_campaign_pauses_by_itself(plan: Mapping[str, float], counts: Mapping[str, int], kind: str | None) -> None:
    why = Plan.model_validate(plan).reason_to_pause(counts)
    assert (why and why[0]) == kind


def test_failures_that_a_person_has_seen_are_forgiven() -> None:
    plan, counts = Plan(stop_after_failures=0.5), {"failed": 10, "succeeded": 2}
    assert plan.reason_to_pause(counts) is not None
    forgiving = plan.forgiving(counts)
    assert forgiving.reason_to_pause(counts) is None
    assert forgiving.reason_to_pause({"failed": 14, "succeeded": 7}) is None
    assert forgiving.reason_to_pause({"failed": 16, "succeeded": 6}) is not None
    assert forgiving.reason_to_pause({"failed": 0, "succeeded": 12}) is None, "they were retried"


def test_failures_since_are_not_forgiven_in_the_place_of_purged_ones() -> None:
    """As of a service whose jobs are forgotten after some days: the bound would be gone for good."""
    plan = Plan(stop_after_failures=0.5).forgiving({"failed": 900, "succeeded": 100, PURGED_FINISHED: 7})
    since = {"failed": 9, "succeeded": 1, PURGED_FAILED: 900, PURGED_FINISHED: 1007}
    assert plan.reason_to_pause(since) is not None
    assert plan.reason_to_pause(since | {"failed": 4, "succeeded": 6}) is None
    assert plan.reason_to_pause({"failed": 905, "succeeded": 104}) is None, "too few since"


@pytest.mark.parametrize("plan", [{"weight": 0}, {"max_submissions": 0}, {"stop_after_failures": 20}])
def test_a_plan_is_checked(plan: Mapping[str, float]) -> None:
    with pytest.raises(ValidationError):
        Plan.model_validate(plan)


class Shop:
    """Slots that are filled again and again, by campaigns that have jobs without end."""

    def __init__(self, slots: int, weights: Mapping[str, float]) -> None:
        self.slots, self.weights = slots, dict(weights)
        self.busy: list[str] = []
        self.turns: dict[str, float] = {}
        self.had: list[str] = []

    def fill(self) -> None:
        free = self.slots - len(self.busy)
        found = [self._contender(age, name) for age, name in enumerate(self.weights)]
        for turn in next_in_turn(found, free, anywhere):
            self.busy.append(turn.campaign.name)
            self.had.append(turn.campaign.name)
            self.turns[turn.campaign.name] = turn.at

    def serve(self, rounds: int, ending: Callable[[int], int] = lambda _: 0) -> Mapping[str, int]:
        """Ends one job a round; returns who had how many turns."""
        before = len(self.had)
        for _ in range(rounds):
            self.fill()
            self.busy.pop(ending(len(self.busy)))
        return Counter(self.had[before:])

    def _contender(self, age: int, name: str) -> Contender:
        one = contender(name, self.slots, held=self.busy.count(name), first=age * 1000, weight=self.weights[name])
        return replace(one, turn=self.turns.get(name))


def test_fewer_slots_than_campaigns_go_round() -> None:
    """Ten jobs are not stuck behind a hundred thousand, however few slots there are."""
    assert Shop(1, {"old": 1, "young": 1}).serve(20) == {"old": 10, "young": 10}
    assert Shop(2, {"a": 1, "b": 1, "c": 1}).serve(29) == {"a": 10, "b": 10, "c": 10}
    assert Shop(1, {"a": 1, "b": 3}).serve(40) == {"a": 10, "b": 30}


def test_who_comes_later_or_back_has_saved_no_turns_up() -> None:
    shop = Shop(1, {"a": 1, "b": 1})
    shop.serve(100)
    shop.weights["new"] = 1.0
    assert shop.serve(30) == {"a": 10, "b": 10, "new": 10}
    del shop.weights["a"]
    shop.serve(100)
    shop.weights["a"] = 1.0
    assert shop.serve(30) == {"a": 10, "b": 10, "new": 10}


@settings(max_examples=30)
@given(
    slots=st.integers(1, 5),
    weights=st.lists(st.sampled_from([5e-324, 0.01, 0.5, 1.0, 3.0, 1000.0]), min_size=1, max_size=7),
    chance=st.randoms(use_true_random=False),
)
def test_nobody_starves(slots: int, weights: list[float], chance: random.Random) -> None:
    """Whatever the weights, and whichever jobs end: who holds no slot gets one within so many turns of the others."""
    names = {f"c{number}": weight for number, weight in enumerate(weights)}
    shop = Shop(slots, names)
    patience = {
        name: slots + sum(1 + min(1000, 1 / weight) * other for other in weights) for name, weight in names.items()
    }
    waited: Counter[str] = Counter()
    for _ in range(80):
        before = len(shop.had)
        shop.fill()
        for name in names:
            waited[name] = 0 if name in shop.busy else waited[name] + len(shop.had) - before
            assert waited[name] <= patience[name], (name, shop.had)
        shop.busy.pop(chance.randrange(len(shop.busy)))
