"""Where a job may go, by which door, and where of several it goes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.actions import Action
from jobs.job import Follows
from jobs.request import Mode
from jobs.slots.pins import Pin, Queue, Routing, Way, door_at, doors_for, pin_of
from jobs.slots.plan import Contender, Plan, Ready, next_in_turn
from jobs.upstreams import Upstream
from tests.unit.lifecycle_world import new_job

FAST, RELAX, TURBO = Mode.FAST, Mode.RELAX, Mode.TURBO


def upstream(name: str, **fields: Any) -> Upstream:
    return Upstream(name=name, url=f"https://{name}.example", **fields)


ANY, QUICK, SLOW = upstream("any"), upstream("quick", modes=[FAST, TURBO]), upstream("slow", modes=[RELAX])
HOUSE, SET = upstream("house", instances=["a", "b"]), upstream("set", slots=5)


@pytest.mark.parametrize(
    ("asked", "pin", "text"),
    [
        ({}, Pin(), ""),
        ({"modes": (FAST,)}, Pin("", (FAST,)), "|FAST|"),
        ({"modes": (TURBO, FAST)}, Pin("", (FAST, TURBO)), "|FAST,TURBO|"),
        ({"modes": tuple(Mode)}, Pin(), ""),
        ({"instance_id": "a|b:c"}, Pin(instance="a|b:c"), "||a|b:c"),
        ({"upstream": "quick"}, Pin("quick"), "quick||"),
        ({"upstream": "quick", "modes": (FAST,)}, Pin("quick", (FAST,)), "quick|FAST|"),
        ({"modes": (RELAX,), "instance_id": "a"}, Pin("", (RELAX,), "a"), "|RELAX|a"),
    ],
)
def test_a_pin_is_what_the_request_asks_of_the_api(asked: dict[str, Any], pin: Pin, text: str) -> None:
    job = new_job()
    job = job.but(request=job.request.model_copy(update=asked))
    assert (pin_of(job), str(pin), Pin.parse(text)) == (pin, text, pin)
    assert Queue.parse(str(Queue.of(job))) == Queue.of(job) == ("default", text)


def test_a_follow_up_goes_where_its_parents_task_is() -> None:
    follows = Follows(job_id="job_0", order=1, action=Action.U1, upstream="quick")
    job = new_job(follows=follows)
    job = job.but(request=job.request.model_copy(update={"modes": (RELAX,)}))
    assert doors_for(pin_of(job), [ANY, QUICK, SLOW]) == ["quick"]


@pytest.mark.parametrize(
    ("pin", "at", "door"),
    [
        (Pin(), ANY, "any"),
        (Pin(), SLOW, "slow"),
        (Pin(modes=(FAST,)), ANY, "any/FAST"),
        (Pin(modes=(RELAX, FAST)), ANY, "any/RELAX,FAST"),
        (Pin(modes=(FAST,)), QUICK, "quick/FAST"),
        (Pin(modes=(RELAX, FAST)), QUICK, "quick/FAST"),
        (Pin(modes=(FAST, TURBO)), QUICK, "quick"),
        (Pin(modes=(FAST,)), SLOW, None),
        (Pin(modes=(RELAX,)), SLOW, "slow"),
        (Pin(modes=(FAST,)), SET, "set"),
        (Pin(instance="a"), HOUSE, "house/a"),
        (Pin(instance="z"), HOUSE, None),
        (Pin(instance="z"), ANY, "any"),
        (Pin("slow"), ANY, None),
        (Pin("any"), ANY, "any"),
    ],
)
def test_by_which_door_it_goes_to_an_upstream(pin: Pin, at: Upstream, door: str | None) -> None:
    assert door_at(pin, at) == door


def test_an_account_that_some_name_is_not_looked_for_elsewhere() -> None:
    assert doors_for(Pin(instance="a"), [ANY, HOUSE]) == ["house/a"]
    assert doors_for(Pin(instance="z"), [ANY, HOUSE]) == ["any"]


def ways(**doors: tuple[float, int, int]) -> dict[str, Way]:
    return {name: Way(*way) for name, way in doors.items()}


@pytest.mark.parametrize(
    ("any_", "slow", "taken"),
    [
        ((1, 0, 3), (1, 0, 3), {"any": 2, "slow": 2}),
        ((1, 4, 6), (1, 0, 9), {"any": 0, "slow": 4}),
        ((3, 0, 9), (1, 0, 9), {"any": 3, "slow": 1}),
        ((1, 0, 0), (1, 9, 9), {"any": 0, "slow": 4}),
        ((1, 0, 1), (1, 9, 2), {"any": 1, "slow": 2}),
        ((1, 0, 0), (1, 0, 0), {"any": 0, "slow": 0}),
    ],
    ids=["alike", "fewest slots", "weights", "one has no room", "less room than jobs", "no room"],
)
def test_of_those_with_room_the_one_with_the_fewest_slots_for_its_weight(
    any_: tuple[float, int, int], slow: tuple[float, int, int], taken: dict[str, int]
) -> None:
    routing = Routing([ANY, SLOW], ways(any=any_, slow=slow))
    assert routing.room("") == any_[2] + slow[2]
    found = Counter(routing.take("") for _ in range(4))
    assert {name: found[name] for name in taken} == taken
    assert found[None] == 4 - sum(taken.values())


def contender(name: str, *jobs: tuple[str, int, str]) -> Contender:
    return Contender(name, Plan(), {}, [Ready(*job) for job in jobs])


def test_a_job_whose_doors_have_no_room_holds_up_none_of_the_others() -> None:
    routing = Routing([QUICK, SLOW], {"quick": Way(1, 0, 2), "slow": Way(1, 0, 0), "quick/FAST": Way(1, 0, 1)})
    jobs = [("a1", 1, "|RELAX|"), ("a2", 2, "|FAST|"), ("a3", 3, "|FAST|"), ("a4", 4, ""), ("a5", 5, "gone||")]
    turns = next_in_turn([contender("a", *jobs), contender("b", ("b1", 9, ""), ("b2", 10, ""))], 9, routing.take)
    assert [(turn.job_id, turn.door) for turn in turns] == [("a2", "quick/FAST"), ("b1", "quick"), ("a4", "quick")]


@given(
    st.lists(st.tuples(st.sampled_from([0.5, 1.0, 3.0]), st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=4),
    st.integers(0, 30),
)
def test_no_room_is_left_unused_and_none_is_used_twice(shape: list[tuple[float, int, int]], count: int) -> None:
    """No slot idles."""
    upstreams = [upstream(f"u{number}") for number in range(len(shape))]
    routing = Routing(upstreams, {f"u{number}": Way(*way) for number, way in enumerate(shape)})
    taken = Counter(routing.take("") for _ in range(count))
    room = sum(free for _, _, free in shape)
    assert taken[None] == max(0, count - room)
    assert all(taken[f"u{number}"] <= free for number, (_, _, free) in enumerate(shape))
