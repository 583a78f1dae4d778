"""The flow finds how much the API can do and follows it, without flooding it; in a world whose clock is turned by hand.

The bounds are those that a run keeps with some room to spare: what a share comes to is said where it is asserted.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.policy import Policy
from jobs.settings import Settings
from jobs.slots.flow import STUCK_SECONDS, look, room
from jobs.slots.found import START_SLOTS, Flow, Reading
from tests.unit.flow_world import BEGINNING, Account, Manner, World

POLICY = Policy(silence_seconds=45.0)
QUICK = Manner()  # tasks of 2 to 4 s, replaced after 0.13 s: 0.958 of the time of a core can be used
SLOW = Manner(task=(30, 90), upload=2.0, news=0.3)
GATEWAY = Manner(task=(40, 80), upload=1.0, says_22=False, calls_back=False)
HASTY_GATEWAY = replace(GATEWAY, task=(6, 14))
TASK_SECONDS = 3.0


def settled(manner: Manner = QUICK, *, accounts: int = 10, cores: int = 3, places: int = 10, **policy: float) -> World:
    """A world in which the flow had time to find what the API can do."""
    world = World(manner, replace(POLICY, **policy), accounts, cores, places)  # type: ignore[arg-type]
    world.run(5 * sum(manner.task))
    world.forget()
    return world


@pytest.mark.parametrize(("manner", "seconds"), [(QUICK, 6.0), (SLOW, 20.0), (GATEWAY, 30.0)])
def test_from_nothing_it_finds_what_the_api_can_do(manner: Manner, seconds: float) -> None:
    world = World(manner, POLICY, 10, 3, 10)
    world.run(seconds)
    assert world.busy >= 0.9 * world.capacity, world.flow


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("manner", "busy", "told_22", "too_many"),
    [
        (QUICK, 0.94, 0.1, 2),
        (SLOW, 0.94, 0.1, 2),
        (replace(QUICK, first_is_1=True), 0.96, 0.01, 10),  # one that waits unseen on each account
        (GATEWAY, 0.85, 0.0, 5),
    ],
)
def test_no_core_idles_and_few_jobs_wait(manner: Manner, busy: float, told_22: float, too_many: int) -> None:
    world = settled(manner)
    world.run(30 * sum(manner.task))
    assert world.busy_share >= busy
    assert world.share("22") <= told_22
    assert world.share("23") == 0
    assert world.capacity - 2 <= world.flow.slots <= world.capacity + too_many


def test_a_ramp_does_not_overshoot_where_the_first_that_waits_is_told_1() -> None:
    world = World(replace(QUICK, first_is_1=True), POLICY, 10, 3, 10)
    world.run(40)
    assert max(slots for *_, slots in world.trace) <= 1.5 * world.capacity


def test_one_account_alone_is_not_flooded() -> None:
    world = settled(SLOW, accounts=1)
    world.run(3000)
    assert world.share("22") <= 0.12
    assert world.busy_share >= 0.93


@pytest.mark.parametrize(("accounts", "stuck"), [(2, 2), (4, 2), (10, 6)])
def test_jobs_that_wait_at_an_account_that_is_gone_stop_no_others(accounts: int, stuck: int) -> None:
    """No slot idles: they wait for as long as the API, or our patience, lets them."""
    world = settled(accounts=accounts)
    gone = Account(3, 10, open=False)
    world.accounts.append(gone)
    for job in range(-stuck, 0):
        gone.queue.append(job)
        world.jobs[job] = "waits"
    world.run(20 + STUCK_SECONDS)
    world.forget()
    world.run(600)
    assert world.busy_share >= 0.9


def test_nor_does_one_more_that_waits_when_a_raise_was_just_made() -> None:
    """The last account that worked has gone as well: what comes back is found, and not hours later."""
    raised = Flow(slots=4, strays=2, taken_seen=40, judge_at_taken=41)
    seen = Reading(BEGINNING, held=3, waiting=3, taken=41)
    flow = look(raised, seen, POLICY)
    assert (room(raised, seen, POLICY), room(flow, seen, POLICY)) == (0, 1)
    assert flow.strays == 2


def test_an_api_that_others_fill_is_not_flooded_and_is_found_free_again() -> None:
    world = settled(accounts=4)
    for account in world.accounts:
        account.running += account.cores
    world.run(10 * STUCK_SECONDS)
    assert world.queued <= 25, "two a minute"
    for account in world.accounts:
        account.running -= account.cores
        world._start(account)
    world.run(TASK_SECONDS)
    world.forget()
    world.run(60)
    assert world.busy_share >= 0.9


@pytest.mark.no_cover
def test_hundreds_of_cores_are_found() -> None:
    world = settled(SLOW, accounts=60)
    world.run(300)
    assert (world.busy_share >= 0.94, world.share("22") <= 0.1) == (True, True)


@pytest.mark.no_cover
def test_where_callbacks_do_not_come_some_wait_so_that_cores_are_not_idle_until_they_are_asked_about() -> None:
    without, with_some = settled(GATEWAY), settled(GATEWAY, waiting_per_running=0.1)
    for world in (without, with_some):
        world.run(1500)
    assert with_some.busy_share >= 0.94 > without.busy_share
    assert Policy.from_settings(Settings()).waiting_per_running == 0.1
    assert Policy.from_settings(Settings(public_url="https://a.example")).waiting_per_running == 0
    assert Policy.from_settings(Settings(waiting_per_running=0.5)).waiting_per_running == 0.5


def test_tasks_that_take_little_longer_than_to_be_asked_about_do_not_keep_it_small() -> None:
    world = settled(HASTY_GATEWAY, waiting_per_running=0.1)
    world.run(200)
    assert world.flow.slots >= 0.9 * world.capacity
    assert world.queued <= 10


def test_accounts_that_go_are_followed() -> None:
    world = settled()
    world.resize(5)
    world.run(2 * TASK_SECONDS)
    assert world.flow.slots <= world.capacity + 2
    world.forget()
    world.run(10 * TASK_SECONDS)
    assert (world.busy_share >= 0.93, world.share("22") <= 0.12) == (True, True)


def test_accounts_that_come_are_followed() -> None:
    world = settled(SLOW, accounts=5)
    world.resize(10)
    world.run(2 * 60.0)
    assert world.busy >= 0.9 * world.capacity


def test_one_that_waits_elsewhere_keeps_nobody_from_a_free_core() -> None:
    seen = Reading(BEGINNING, held=31, working=29, waiting=1, on_the_way=1)
    assert room(Flow(slots=31, proving=False), seen, POLICY) == 1


def test_while_more_wait_than_is_bearable_none_goes() -> None:
    few, many = (Reading(BEGINNING, held=20 + waiting, working=20, waiting=waiting) for waiting in (2, 3))
    flow = Flow(slots=30, proving=False)
    assert (room(flow, few, POLICY), room(flow, many, POLICY)) == (10, 0)


def test_doubt_about_what_was_told_1_makes_raises_careful() -> None:
    flow = Flow(slots=33, step=16, judge_at_taken=33)
    for second in range(4):
        seen = Reading(BEGINNING + timedelta(seconds=second), held=33, working=30, taken=33)
        flow = look(flow, seen, POLICY)
    assert (flow.slots, flow.found) == (33, True)
    assert look(flow, replace(seen, now=BEGINNING + timedelta(seconds=9), working=33), POLICY).slots == 33 + 33 // 4


def test_a_raise_that_was_too_much_is_taken_back_soon_also_where_some_that_wait_were_told_1() -> None:
    flow = Flow(slots=65, step=32, judge_at_taken=65)
    for second in range(4):
        now = BEGINNING + timedelta(seconds=second)
        flow = look(flow, Reading(now, held=65, working=30, waiting=25, taken=65), POLICY)
    assert flow.slots == 40


def test_a_ramp_does_not_overshoot_where_some_are_wanted_to_wait() -> None:
    world = World(GATEWAY, replace(POLICY, waiting_per_running=0.1), 10, 3, 10)
    world.run(120)
    assert max(slots for *_, slots in world.trace) <= 1.5 * world.capacity


def test_a_code_1_alone_proves_nothing() -> None:
    """Gateways write 1 for 22: only what is seen to be worked on makes it grow."""
    flow, seen = Flow(), Reading(BEGINNING, held=START_SLOTS, taken=START_SLOTS)
    for second in range(100):
        flow = look(flow, replace(seen, now=BEGINNING + timedelta(seconds=second)), POLICY)
    assert flow.slots == START_SLOTS
    later = BEGINNING + timedelta(seconds=101)
    assert look(flow, replace(seen, now=later, working=START_SLOTS), POLICY).slots > START_SLOTS


def test_after_a_23_it_stays_below_and_tries_again_less_and_less() -> None:
    world = settled(places=0)
    world.run(100 * TASK_SECONDS)
    assert world.share("23") <= 0.01
    assert world.busy_share >= 0.94
    assert world.flow.slots <= world.capacity + 1


def test_while_nothing_gets_there_jobs_go_one_by_one_and_less_and_less_often() -> None:
    world = settled()
    world.down = True
    world.run(60.0)
    assert world.answers["unsent"] <= 30
    assert world.flow.trouble > 0
    slots, world.down = world.flow.slots, False
    world.run(POLICY.backoff_cap_seconds + 5)
    assert (world.flow.trouble, world.flow.slots >= slots) == (0, True)
    assert world.busy >= 0.9 * world.capacity


@pytest.mark.parametrize("limit", [None, 4])
def test_a_clock_that_is_set_back_closes_nothing_for_as_long(limit: int | None) -> None:
    """What is enqueued meanwhile goes."""
    then = BEGINNING + timedelta(days=1)
    closed = look(Flow(), Reading(then, unsent=1), POLICY, limit)
    closed = look(closed, Reading(then + timedelta(seconds=5), unsent=2), POLICY, limit)
    assert room(closed, Reading(then + timedelta(seconds=5), unsent=2), POLICY, limit) == 0
    back = Reading(BEGINNING, unsent=2)
    assert room(look(closed, back, POLICY, limit), back, POLICY, limit) == 1, "one by one, as before"


def test_nor_do_jobs_that_waited_before_it_was() -> None:
    seen = Reading(BEGINNING + timedelta(days=1), held=2, waiting=2, taken=2)
    flow = look(Flow(proving=False, waiting_seen=2, looked_at=BEGINNING), seen, POLICY)
    assert (flow.stuck_since, flow.looked_at) == (seen.now, BEGINNING)
    for seconds in (0, STUCK_SECONDS):
        seen = replace(seen, now=BEGINNING + timedelta(seconds=seconds))
        flow = look(flow, seen, POLICY)
    assert room(flow, seen, POLICY) == 1


def test_an_account_list_skips_the_ramp_and_never_stops_anything() -> None:
    full = Reading(BEGINNING, held=START_SLOTS, working=START_SLOTS, taken=START_SLOTS)
    raised = look(Flow(), replace(full, cores=30), POLICY)
    assert raised.slots == 30
    later = replace(full, now=BEGINNING + timedelta(seconds=5), held=40, working=20, waiting=20, taken=40, cores=30)
    lowered = look(raised, later, POLICY)
    assert lowered.slots == 20
    again = replace(later, now=BEGINNING + timedelta(seconds=10), held=20, waiting=0)
    assert look(lowered, again, POLICY).slots == 20, "they are others' cores, too: tried once"
    assert look(Flow(), replace(full, cores=1), POLICY).slots == look(Flow(), full, POLICY).slots


def test_slots_that_were_set_are_kept_whatever_is_seen() -> None:
    seen = Reading(BEGINNING, held=2, waiting=2, refused=5, taken=2)
    flow = look(Flow(slots=9), seen, POLICY, limit=4)
    assert flow.slots == 9
    assert look(Flow(slots=9), replace(seen, refused=0), POLICY, limit=4).slots == 9
    assert room(Flow(), Reading(BEGINNING, held=2, waiting=2), POLICY, limit=4) == 2


def test_what_was_found_long_ago_is_found_anew() -> None:
    old = Flow(slots=300, proving=False, looked_at=BEGINNING)
    later = Reading(BEGINNING + timedelta(hours=2), taken=500)
    assert look(old, later, POLICY).slots == START_SLOTS
    assert look(old, replace(later, held=200), POLICY).slots == 300, "it is in use"


readings = st.builds(
    lambda working, waiting, way, unsure, **rest: Reading(
        held=working + waiting + way + unsure, working=working, waiting=waiting, on_the_way=way, unsure=unsure, **rest
    ),
    now=st.integers(0, 10_000).map(lambda seconds: BEGINNING + timedelta(seconds=seconds)),
    working=st.integers(0, 400),
    waiting=st.integers(0, 50),
    way=st.integers(0, 50),
    unsure=st.integers(0, 50),
    taken=st.integers(0, 1000),
    refused=st.integers(0, 10),
    unsent=st.integers(0, 10),
    cores=st.none() | st.integers(0, 500),
)


@settings(max_examples=60)
@given(st.lists(readings, max_size=12), st.floats(0, 2))
def test_whatever_is_seen_one_job_can_go_at_last_and_never_more_than_there_are_slots(
    shown: list[Reading], waiting_per_running: float
) -> None:
    policy, flow = replace(POLICY, waiting_per_running=waiting_per_running), Flow()
    for seen in shown:
        after = look(flow, seen, policy)
        free = room(after, seen, policy)
        assert after.slots >= 1
        assert 0 <= free <= max(0, after.slots - seen.inside)
        assert after.slots <= flow.slots or seen.waiting - after.strays <= round(seen.working * waiting_per_running)
        flow = after
    idle = Reading(BEGINNING + timedelta(days=1))
    idle = replace(idle, taken=flow.taken_seen, refused=flow.refused_seen, unsent=flow.unsent_seen)
    assert room(look(flow, idle, policy), idle, policy) >= 1
    for waiting in (1, flow.strays + 1, 7):
        stuck = replace(idle, held=waiting, waiting=waiting)
        later = replace(stuck, now=stuck.now + timedelta(seconds=STUCK_SECONDS))
        free = room(look(look(flow, stuck, policy), later, policy), later, policy)
        assert free == 1 or (free and waiting == 1)
