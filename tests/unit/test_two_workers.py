"""Two workers, an API that may do anything, lost replies and stale writers: every order of their steps is explored.

`two_workers_world` says what may happen. The explorer (`two_workers_explored`) must find nothing in the real lifecycle,
and must find what is wrong with each of a list of broken ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from jobs import events
from jobs.events import AnswerKind
from jobs.job import FINAL, Job, Status
from jobs.lifecycle import Change, Moment, at_the_api, finishing, submitting
from jobs.settings import OnQueued
from tests.unit.two_workers_explored import explore
from tests.unit.two_workers_world import GOOD, Habits, State, Violation, World

# Counting the same lines for each of so many states takes twice as long as they do.
pytestmark = pytest.mark.no_cover

# The nearest states: some seconds for each. All that there are with two attempts (92,052 in the mode `wait`, 138,606 in
# `confirm`, 229,920 in `resubmit`) take two minutes together: `explore(world)`. Whatever is broken on purpose below
# shows within 5,000.
ENOUGH = 20_000
ENOUGH_IF_BROKEN = 10_000


@pytest.mark.parametrize("mode", list(OnQueued))
def test_whatever_two_workers_and_the_api_do_nothing_is_paid_twice_and_no_job_is_stuck(mode: OnQueued) -> None:
    """I1, I2, I3, I6, I7."""
    world = World(mode)
    explored = explore(world, ENOUGH)
    statuses = {world.jobs[state.job].status for state in explored.came_from}
    assert statuses == set(Status) - {Status.CANCELLED}, "only a person cancels"
    assert any(_both_send(state) for state in explored.came_from), "two workers are past their commit at once"


def _both_send(state: State) -> bool:
    return all(worker.at in ("committed", "awaiting", "recording") for worker in state.workers)


def test_a_person_may_cancel_and_retry_at_any_time() -> None:
    """I2: once a person ordered it, paying again is right; before, it is not."""
    world = World(OnQueued.CONFIRM, persons=True)
    explored = explore(world, ENOUGH)
    assert {world.jobs[state.job].status for state in explored.came_from} >= FINAL


@pytest.mark.parametrize("mode", [OnQueued.WAIT, OnQueued.CONFIRM])
def test_a_task_that_was_seen_to_run_and_is_forgotten_is_not_sent_again(mode: OnQueued) -> None:
    """I2. (In the mode `resubmit` the user says that a 22 is no acceptance.)"""
    explore(World(mode, forgets_what_runs=True), ENOUGH)


# Broken on purpose ------------------------------------------------------------------------------------------------

Patch = Callable[[pytest.MonkeyPatch], None]


def _unfenced_commit(patch: pytest.MonkeyPatch) -> None:
    def commit(job: Job, event: events.Commit, moment: Moment) -> Change | None:
        return real(job.but(status=Status.SUBMITTING), events.Commit(job.current), moment) if job.attempt else None

    real = submitting.commit
    patch.setattr(submitting, "commit", commit)


def _unfenced_answer(patch: pytest.MonkeyPatch) -> None:
    def answer(job: Job, event: events.Answer, moment: Moment) -> Change | None:
        return real(job, replace(event, attempt=job.current), moment)

    real = submitting.answer
    patch.setattr(submitting, "answer", answer)


def _again(job: Job, moment: Moment) -> Change:
    return Change(job.but(status=Status.WAITING, due_at=moment.now))


def _unsure_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(submitting, "_unsure", lambda job, moment, why: _again(job, moment))


def _unsure_again_at_its_deadline(patch: pytest.MonkeyPatch) -> None:
    def deadline(job: Job, moment: Moment) -> Change | None:
        return _again(job, moment) if job.status is Status.UNSURE else real(job, moment)

    real = at_the_api.deadline
    patch.setattr(at_the_api, "deadline", deadline)


def _lease_end_of_committed_again(patch: pytest.MonkeyPatch) -> None:
    def lease_end(job: Job, moment: Moment) -> Change | None:
        return _again(job, moment) if job.status is Status.COMMITTED else real(job, moment)

    real = submitting.lease_end
    patch.setattr(submitting, "lease_end", lease_end)


def _no_lease_end_of_uploads(patch: pytest.MonkeyPatch) -> None:
    def lease_end(job: Job, moment: Moment) -> Change | None:
        return None if job.status is Status.SUBMITTING else real(job, moment)

    real = submitting.lease_end
    patch.setattr(submitting, "lease_end", lease_end)


def _blind_on_22(patch: pytest.MonkeyPatch) -> None:
    def queued(job: Job, attempt: Any, event: events.Answer, moment: Moment) -> Change | None:
        return submitting.back_off(job.with_attempt(attempt), AnswerKind.NO_ROOM, "22", moment)

    patch.setattr(submitting, "_queued", queued)


def _claim_from_waiting(patch: pytest.MonkeyPatch) -> None:
    def claim(job: Job, event: events.Claim, moment: Moment) -> Change | None:
        return real(job.but(status=Status.RELEASED) if job.status is Status.WAITING else job, event, moment)

    real = submitting.claim
    patch.setattr(submitting, "claim", claim)


def _one_absence_is_proof(patch: pytest.MonkeyPatch) -> None:
    def absent(job: Job, attempt: Any, moment: Moment, *, never_again: bool) -> Change:
        return _again(job.with_attempt(attempt.but(gone=True)), moment)

    patch.setattr(at_the_api, "_absent", absent)


def _collected_again(patch: pytest.MonkeyPatch) -> None:
    def collected(job: Job, event: events.Collected, moment: Moment) -> Change | None:
        return real(job.but(status=Status.COLLECTING, current=event.attempt), event, moment)

    real = finishing.collected
    patch.setattr(finishing, "collected", collected)


def _never_unsure_for_too_long(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(at_the_api, "deadline", lambda job, moment: None)


STALE_BYTE = "a stale worker released its last byte"
BROKEN_LIFECYCLES: dict[Patch, str] = {
    _unfenced_commit: STALE_BYTE,
    _unfenced_answer: "an answer was taken for another attempt's",
    _unsure_again: STALE_BYTE,
    _unsure_again_at_its_deadline: STALE_BYTE,
    _lease_end_of_committed_again: STALE_BYTE,
    _no_lease_end_of_uploads: "a job is stuck",
    _blind_on_22: "paid twice",
    _claim_from_waiting: "an upload began without a slot",
    _one_absence_is_proof: "paid twice",
    _collected_again: "a success was recorded twice",
    _never_unsure_for_too_long: "a job is stuck",
}
BROKEN_HABITS = {
    "sends after a commit that was refused": (Habits(heeds_a_lost_lease=False), STALE_BYTE),
    "writes over what others wrote": (Habits(compares_versions=False), STALE_BYTE),
    "takes no reply for a yes": (Habits(asks_again=False), STALE_BYTE),
    "sends all, then commits": (Habits(commits_first=False), STALE_BYTE),
    "sends again when it hears nothing": (Habits(sends_once=False), "paid twice"),
    "says NOT_SENT after the commit": (Habits(knows_when_it_sent=False), "paid twice"),
}


@pytest.mark.parametrize("broken", BROKEN_LIFECYCLES, ids=lambda broken: broken.__name__.strip("_"))
def test_a_broken_lifecycle_is_caught(broken: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    assert (
        _caught(World(OnQueued.CONFIRM, forgets_what_runs=broken is _one_absence_is_proof)) == BROKEN_LIFECYCLES[broken]
    )


@pytest.mark.parametrize("name", BROKEN_HABITS)
def test_a_broken_worker_is_caught(name: str) -> None:
    habits, expected = BROKEN_HABITS[name]
    assert habits != GOOD
    assert _caught(World(OnQueued.CONFIRM, habits)) == expected


def _caught(world: World) -> str:
    with pytest.raises(Violation) as caught:
        explore(world, ENOUGH_IF_BROKEN)
    return caught.value.name
