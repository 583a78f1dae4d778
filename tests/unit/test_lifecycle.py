"""The lifecycle, explored: every event in every order. I1 to I3, I5 and I6 are checked in `lifecycle_world.check`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import events
from jobs.actions import Action
from jobs.attempt import Attempt, TaskStatus
from jobs.events import AnswerKind, Event
from jobs.follow_ups import follow_ups
from jobs.job import Follows, Job, Status
from jobs.lifecycle import Moment, advance
from jobs.policy import Policy
from jobs.settings import OnQueued
from tests.unit.lifecycle_world import LATER, PICTURE, PREVIEW, SOON, START, World, events_for, new_job, wanting_job

DEPTH = 6
POLICIES = {mode: Policy(on_queued=mode) for mode in OnQueued}


def _shape(world: World) -> object:
    """What tells two worlds apart for the lifecycle; times only as far as they can matter."""

    def when(time: datetime | None) -> object:
        return None if time is None else (time > world.now, world.now - time > LATER / 2)

    job = world.job
    attempts = tuple(_attempt_shape(a, a.number == job.current, when) for a in job.attempts[-2:])
    counts = (min(job.claims, 3), min(job.lost_claims, 3), job.cancel_requested, job.reason and job.reason.kind)
    return (job.status, when(job.due_at), when(job.retrying_since), attempts, counts, world.ordered)


def _attempt_shape(a: Attempt, current: bool, when: Callable[[datetime | None], object]) -> object:
    flags = (current, a.code, a.task_id, a.refused, a.gone, a.withdrawn, a.seen, bool(a.progress), min(a.absences, 3))
    return flags, when(a.committed_at), when(a.answered_at), when(a.absent_since), when(a.seen_at)


def _explore(policy: Policy, depth: int) -> list[World]:
    first = World(wanting_job(Action.U1))
    seen = {_shape(first): first}
    edge = deque([(world, 0) for world in seen.values()])
    while edge:
        world, steps = edge.popleft()
        if steps == depth:
            continue
        for event in events_for(world.job):
            for wait in (SOON, LATER):
                after = world.after(event, wait, policy)
                if after is not None and (shape := _shape(after)) not in seen:
                    seen[shape] = after
                    edge.append((after, steps + 1))
    return list(seen.values())


@pytest.mark.no_cover  # it takes longer to count the same lines again and again than to run them
@pytest.mark.parametrize("mode", list(OnQueued))
def test_every_event_in_every_order_keeps_the_invariants(mode: OnQueued) -> None:
    worlds = _explore(POLICIES[mode], DEPTH)
    assert {world.job.status for world in worlds} == set(Status), "every status is reached"
    for world in worlds:
        _comes_to_an_end(world, POLICIES[mode])


def _comes_to_an_end(world: World, policy: Policy) -> None:
    """I1 and I7: with no callback and no person, the sweep alone moves every job to an end or back into the queue."""
    for _ in range(8):
        job = world.job
        if job.status.final or job.status is Status.WAITING:
            return
        sweeps: list[Event] = [events.LeaseEnd(), events.Deadline(), events.CollectFailed("gone")]
        moved = (world.after(event, LATER, policy) for event in sweeps)
        world = next((after for after in moved if after is not None), world)
    raise AssertionError(f"stuck in {world.job.status}")


@pytest.mark.no_cover
@settings(max_examples=300)
@given(data=st.data(), mode=st.sampled_from(list(OnQueued)))
def test_long_random_lives_keep_the_invariants(data: st.DataObject, mode: OnQueued) -> None:
    world = World(wanting_job(Action.U1))
    for _ in range(data.draw(st.integers(1, 40))):
        event = data.draw(st.sampled_from(list(events_for(world.job))))
        wait = data.draw(st.sampled_from([SOON, SOON, LATER]))
        world = world.after(event, wait, POLICIES[mode], data.draw(st.floats(0, 0.999))) or world


def _lived(*happened: Event, policy: Policy | None = None, job: Job | None = None) -> Job:
    world = World(job or new_job())
    for event in happened:
        world = world.after(event, SOON, policy or Policy()) or world
    return world.job


UPLOADED = (events.Release(), events.Claim("w1"), events.Commit(1))
QUEUED_22 = events.Answer(1, AnswerKind.QUEUED, "t1", 5, 22)


def test_the_straight_way() -> None:
    job = _lived(
        *UPLOADED,
        events.Answer(1, AnswerKind.ACCEPTED, "t1", None, 1),
        events.TaskSeen(1, "t1", TaskStatus.IN_PROGRESS, 35),
        events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1"),
        events.Collected(1, PICTURE),
    )
    assert (job.status, job.submissions, job.resubmissions) == (Status.SUCCEEDED, 1, 0)


def test_a_stale_worker_cannot_commit() -> None:
    """I3: the lease ended, another worker claimed the job; the first one wakes up."""
    world = World(_lived(events.Release(), events.Claim("slow")))
    for event, wait in ((events.LeaseEnd(), LATER), (events.Release(), SOON), (events.Claim("quick"), SOON)):
        world = world.after(event, wait, Policy()) or world
    assert world.job.status is Status.SUBMITTING
    assert world.after(events.Commit(1), SOON, Policy()) is None
    assert world.after(events.Commit(2), SOON, Policy()) is not None


def test_a_22_is_adopted_when_the_task_lives() -> None:
    job = _lived(*UPLOADED, QUEUED_22, events.TaskSeen(1, "t1", TaskStatus.NOT_START))
    assert (job.status, job.queued_answers, job.submissions) == (Status.QUEUED, 1, 1)


def test_a_22_is_resubmitted_when_the_api_does_not_know_the_task() -> None:
    job = _lived(*UPLOADED, QUEUED_22, events.TaskMissing(1), events.Release(), events.Claim("w1"), events.Commit(2))
    assert (job.status, job.current, job.resubmissions, job.submissions) == (Status.COMMITTED, 2, 1, 0)


def test_a_22_that_was_seen_alive_is_not_resubmitted_on_one_absence() -> None:
    alive = events.TaskSeen(1, "t1", TaskStatus.NOT_START)
    assert _lived(*UPLOADED, QUEUED_22, alive, events.TaskMissing(1)).status is Status.QUEUED


def test_nor_is_one_that_was_to_be_cancelled_there() -> None:
    """Out of patience, and the API could not cancel it: that it is left out once proves no more than before."""
    world: World | None = World(_lived(*UPLOADED, QUEUED_22, events.TaskSeen(1, "t1", TaskStatus.NOT_START)))
    happened: list[tuple[Event, int]] = [(events.PatienceEnd(1), 1), (events.TaskMissing(1), 0)]
    for event, hours in happened:
        world = world.after(event, timedelta(hours=hours), Policy()) if world else None
    assert world is not None
    assert (world.job.status, world.job.submissions) == (Status.QUEUED, 1)
    for _ in range(2):
        world = world.after(events.TaskMissing(1), timedelta(minutes=6), Policy()) if world else None
    assert world is not None
    assert (world.job.status, world.job.submissions) == (Status.WAITING, 0)


@pytest.mark.parametrize("task_id", ["t1", None])
def test_a_22_is_never_resubmitted_in_wait_mode(task_id: str | None) -> None:
    answer = events.Answer(1, AnswerKind.QUEUED, task_id, None, 22)
    world = World(_lived(*UPLOADED, answer, policy=POLICIES[OnQueued.WAIT]))
    for _ in range(5):
        for event in (events.TaskMissing(1), events.PatienceEnd(1), events.Withdrawn(1), events.Deadline()):
            world = world.after(event, LATER, POLICIES[OnQueued.WAIT]) or world
    assert world.job.status is Status.PARKED


def test_a_22_is_always_resubmitted_in_resubmit_mode() -> None:
    policy = POLICIES[OnQueued.RESUBMIT]
    asked = _lived(*UPLOADED, QUEUED_22, events.PatienceEnd(1), policy=policy)
    assert asked.attempt is not None
    assert asked.attempt.withdrawn
    assert _lived(events.Withdrawn(1), policy=policy, job=asked).status is Status.WAITING


def test_patience_is_not_over_before_its_time() -> None:
    queued = World(_lived(*UPLOADED, QUEUED_22))
    assert queued.after(events.PatienceEnd(1), SOON, Policy()) is None
    assert queued.after(events.PatienceEnd(1), LATER, Policy()) is not None


def test_backoff_grows_with_each_22_and_is_capped() -> None:
    policy = Policy(backoff_base_seconds=2, backoff_cap_seconds=10)
    world, delays = World(new_job()), []
    for number in range(1, 6):
        refused = events.Answer(number, AnswerKind.QUEUED, None, None, 22)
        for event in (events.Release(), events.Claim("w1"), events.Commit(number), refused):
            world = world.after(event, SOON, policy, chance=1.0) or world
        assert world.job.due_at is not None
        delays.append((world.job.due_at - world.now).total_seconds())
        world = World(world.job, world.job.due_at, world.ordered)
    assert delays == [2, 4, 8, 10, 10]
    assert (world.job.queued_answers, world.job.backoffs, world.job.resubmissions) == (5, 5, 4)


@pytest.mark.parametrize("answer", [QUEUED_22, events.Answer(1, AnswerKind.ACCEPTED, "t1", code=1)])
def test_a_task_that_is_turned_away_after_it_was_accepted_backs_off_further_each_time(answer: events.Answer) -> None:
    """As refusals do: without end, and each after two seconds, it filled the record with attempts."""
    policy = Policy(backoff_base_seconds=2, backoff_cap_seconds=10)
    world, delays = World(new_job()), list[float]()
    for number in range(1, 7):
        task = f"t{number}"
        full = events.TaskSeen(number, task, TaskStatus.FAILURE, failure="queue_full", fail_reason="Queue full")
        taken = replace(answer, attempt=number, task_id=task)
        seen = [events.TaskSeen(number, task, one) for one in (TaskStatus.NOT_START, TaskStatus.SUBMITTED)]
        happened: list[Event] = [events.Release(), events.Claim("w1"), events.Commit(number), taken, *seen, full]
        for event in happened:
            world = world.after(event, SOON, policy, chance=1.0) or world
        delays.append(((world.job.due_at or world.now) - world.now).total_seconds())
        world = World(world.job, world.now + timedelta(hours=5), world.ordered)
    assert delays == ([4, 10, 10, 10, 10, 0] if answer.code == 22 else [2, 4, 8, 10, 10, 0])
    assert (world.job.reason and world.job.reason.kind) == "no_room"


def test_resubmitting_ends_at_its_limit_with_a_reason() -> None:
    refused = events.Answer(1, AnswerKind.NO_ROOM, code=23, description="full")
    world = World(_lived(*UPLOADED)).after(refused, LATER, Policy())
    assert world is not None
    assert (world.job.status, world.job.reason and world.job.reason.kind) == (Status.FAILED, "no_room")


@pytest.mark.parametrize("kind", [AnswerKind.KEY, AnswerKind.QUOTA, AnswerKind.WRONG_ADDRESS])
def test_what_only_a_person_can_mend_never_fails_a_job(kind: AnswerKind) -> None:
    world = World(_lived(*UPLOADED)).after(events.Answer(1, kind), LATER, Policy())
    assert world is not None
    assert world.job.status is Status.WAITING


def test_no_answer_is_unsure_and_then_parked_never_sent_again() -> None:
    world = World(_lived(*UPLOADED, events.NoAnswer(1, "reset")))
    assert world.job.status is Status.UNSURE
    parked = world.after(events.Deadline(), LATER, Policy())
    assert parked is not None
    assert (parked.job.status, parked.job.reason and parked.job.reason.kind) == (Status.PARKED, "unsure")


@pytest.mark.parametrize(
    "since", [(), (events.Release("spare"),), (events.Release("spare"), events.Claim("w2"))], ids=len
)
def test_an_answer_that_comes_after_a_persons_retry_still_counts(since: tuple[Event, ...]) -> None:
    """I2: its worker was stopped for long. What is accepted is not sent again, and what was refused is no doubt."""
    ordered = _lived(events.Retry(), *since, job=_given_up_as_unsure())
    assert ordered.uncertain == 1
    taken = _lived(events.Answer(1, AnswerKind.ACCEPTED, "t1", None, 1), job=ordered)
    assert (taken.status, taken.current, taken.submissions) == (Status.ACCEPTED, 1, 1)
    assert taken.upstream == "default", "where it was accepted"
    assert advance(taken, events.Commit(2), Moment(START, 0.5, Policy())) is None, "its last byte stays where it is"
    refused = _lived(events.Answer(1, AnswerKind.GIVEN_UP), job=ordered)
    assert (refused.status, refused.uncertain) == (ordered.status, 0)


def test_one_that_comes_after_it_was_sent_again_tells_what_was_paid_for() -> None:
    again = _lived(events.Retry(), *UPLOADED[:2], events.Commit(2), job=_given_up_as_unsure())
    taken = _lived(events.Answer(1, AnswerKind.ACCEPTED, "t1", None, 1), job=again)
    assert (taken.status, taken.current, taken.submissions, taken.uncertain) == (Status.COMMITTED, 2, 1, 1)
    refused = _lived(events.Answer(1, AnswerKind.GIVEN_UP), job=again)
    assert (refused.status, refused.submissions, refused.uncertain) == (Status.COMMITTED, 0, 1)
    settled = events.TaskSeen(1, "t1", TaskStatus.FAILURE)
    assert _lived(settled, QUEUED_22, job=again) == _lived(settled, job=again), "nobody waits for it any more"


def _given_up_as_unsure() -> Job:
    unsure = World(_lived(*UPLOADED, events.NoAnswer(1, "its worker was stopped")))
    parked = unsure.after(events.Deadline(), LATER, Policy())
    assert parked is not None
    return parked.job


def test_a_late_callback_brings_a_parked_job_back() -> None:
    unsure = World(_lived(*UPLOADED, events.NoAnswer(1, "reset")))
    parked = unsure.after(events.Deadline(), LATER, Policy())
    assert parked is not None
    assert _lived(events.TaskSeen(1, "t1", TaskStatus.IN_PROGRESS, 5), job=parked.job).status is Status.RUNNING


def test_a_late_success_rescues_a_failed_job() -> None:
    failed = _lived(*UPLOADED, events.TaskSeen(1, "t1", TaskStatus.FAILURE, failure="timeout", fail_reason="任务超时"))
    assert (failed.status, failed.reason and failed.reason.kind) == (Status.FAILED, "timeout")
    rescued = _lived(events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1"), job=failed)
    assert rescued.status is Status.COLLECTING


def test_callbacks_before_the_answer_and_in_reverse_order() -> None:
    job = _lived(
        *UPLOADED,
        events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1"),
        events.TaskSeen(1, "t1", TaskStatus.IN_PROGRESS, 35),
        events.TaskSeen(1, "t1", TaskStatus.SUBMITTED),
        events.Answer(1, AnswerKind.ACCEPTED, "t1", None, 1),
    )
    assert (job.status, job.attempt and job.attempt.progress) == (Status.COLLECTING, 100)


def test_a_preview_that_comes_late_or_alone_is_never_taken_for_the_picture() -> None:
    """I5. Callbacks overtake each other, and what was asked may be older than a callback."""
    preview = events.TaskSeen(1, "t1", TaskStatus.IN_PROGRESS, 50, PREVIEW)
    done = events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1")
    job = _lived(*UPLOADED, preview, done, preview)
    assert (job.status, job.attempt and job.attempt.image_url) == (Status.COLLECTING, "http://cdn/1")
    without = World(_lived(*UPLOADED, preview, events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100)))
    parked = without.after(events.Deadline(), LATER, Policy())
    assert parked is not None
    assert _lived(events.Retry(), job=parked.job).status is Status.WAITING, "there is no picture to fetch"


def test_a_callback_of_a_refused_attempt_is_still_matched_and_nothing_more_is_paid() -> None:
    """A 22 without id that had been taken after all: the task shows itself while the job waits to be sent again."""
    waiting = _lived(
        *UPLOADED, events.Answer(1, AnswerKind.QUEUED, None, None, 22), events.Release(), events.Claim("w")
    )
    assert waiting.status is Status.WAITING or waiting.status is Status.SUBMITTING
    job = _lived(events.TaskSeen(1, "t1", TaskStatus.IN_PROGRESS, 5), job=waiting)
    assert (job.status, job.current) == (Status.RUNNING, 1)


def test_two_task_ids_for_one_attempt_park_the_job_and_no_news_lifts_it() -> None:
    parked = _lived(
        *UPLOADED,
        events.Answer(1, AnswerKind.ACCEPTED, "t1", None, 1),
        events.TaskSeen(1, "t2", TaskStatus.IN_PROGRESS, 5),
        events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1"),
    )
    assert (parked.status, parked.reason and parked.reason.kind) == (Status.PARKED, "conflict")


def _sent_again() -> Job:
    """Its second attempt is committed, after a 22 without an id."""
    waiting = World(_lived(*UPLOADED, events.Answer(1, AnswerKind.QUEUED, None, None, 22)))
    released = waiting.after(events.Release(), LATER, Policy())
    assert released is not None
    return _lived(events.Claim("w"), events.Commit(2), job=released.job)


@pytest.mark.parametrize("collected", [False, True])
def test_another_attempt_that_ran_as_well_is_counted_and_changes_nothing_else(collected: bool) -> None:
    """A withdrawn task that finishes nevertheless was paid for; the record must not hide it."""
    first = _lived(events.TaskSeen(2, "t2", TaskStatus.SUCCESS, 100, "http://cdn/2"), job=_sent_again())
    if collected:
        first = _lived(events.Collected(2, PICTURE), job=first)
    late = _lived(*[events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1")] * 2, job=first)
    assert (late.status, late.current, first.submissions, late.submissions) == (first.status, 2, 1, 2)
    assert late.due_at == first.due_at


def test_a_retry_of_a_success_that_was_doubted_keeps_the_attempt_whose_picture_it_has() -> None:
    """I5: its follow-ups carry on that attempt's grid, at that attempt's API."""
    second, first = (events.TaskSeen(n, f"t{n}", TaskStatus.SUCCESS, 100, f"http://cdn/{n}") for n in (2, 1))
    done = _lived(second, events.Collected(2, PICTURE), first, job=_sent_again())
    doubted = _lived(events.Conflict("job_2", "picture"), events.Retry(), job=done)
    assert (doubted.status, doubted.current, doubted.picture) == (Status.COLLECTING, 2, PICTURE)


def test_two_attempts_that_got_the_same_task_are_one_submission() -> None:
    again = events.Answer(2, AnswerKind.ACCEPTED, "t1", None, 21)
    job = _lived(again, events.TaskSeen(1, "t1", TaskStatus.IN_PROGRESS, 5), job=_sent_again())
    assert ([attempt.task_id for attempt in job.attempts], job.submissions) == (["t1", "t1"], 1)


def test_a_job_that_kills_three_workers_in_a_row_is_parked() -> None:
    world, waited = World(new_job()), list[timedelta]()
    for _ in range(3):
        for event, wait in ((events.Release(), LATER), (events.Claim("w"), SOON), (events.LeaseEnd(), LATER)):
            world = world.after(event, wait, Policy()) or world
        waited.append((world.job.due_at or world.now) - world.now)
    assert (world.job.status, world.job.reason and world.job.reason.kind) == (Status.PARKED, "poison")
    assert waited[0] == timedelta(0) < waited[1], "those that were lost with it come back at another time"


def test_absences_count_only_over_time_and_started_tasks_are_parked() -> None:
    accepted = _lived(*UPLOADED, events.Answer(1, AnswerKind.ACCEPTED, "t1", None, 1))
    at_once = _lived(*[events.TaskMissing(1)] * 5, job=accepted)
    assert at_once.status is Status.ACCEPTED
    world = World(at_once).after(events.TaskMissing(1), LATER, Policy())
    assert world is not None
    assert (world.job.status, world.job.submissions) == (Status.WAITING, 0)
    running = _lived(events.TaskSeen(1, "t1", TaskStatus.IN_PROGRESS, 5), *[events.TaskMissing(1)] * 3, job=accepted)
    parked = World(running).after(events.TaskMissing(1), LATER, Policy())
    assert parked is not None
    assert parked.job.status is Status.PARKED


@pytest.mark.parametrize("status", [TaskStatus.SUBMITTED, TaskStatus.MODAL, TaskStatus.IN_PROGRESS])
def test_a_task_that_had_left_the_apis_queue_and_is_forgotten_is_not_sent_again(status: TaskStatus) -> None:
    """I2. It was handed to Midjourney, also where no progress of it was seen yet."""
    answered = (events.Answer(1, AnswerKind.ACCEPTED, "t1", None, 1), events.TaskSeen(1, "t1", status))
    world = World(_lived(*UPLOADED, *answered, *[events.TaskMissing(1)] * 3)).after(
        events.TaskMissing(1), timedelta(minutes=11), Policy()
    )
    assert world is not None
    assert (world.job.status, world.job.reason and world.job.reason.kind) == (Status.PARKED, "lost_there")


def test_cancelling_before_and_after_the_last_byte() -> None:
    assert _lived(events.Cancel()).status is Status.CANCELLED
    sent = _lived(*UPLOADED, events.Cancel())
    assert (sent.status, sent.cancel_requested) == (Status.COMMITTED, True)
    assert _lived(events.TaskSeen(1, "t1", TaskStatus.CANCEL), job=sent).status is Status.CANCELLED


def test_what_had_begun_when_the_api_forgot_a_cancelled_job_was_paid_for() -> None:
    accepted = _lived(*UPLOADED, events.Answer(1, AnswerKind.ACCEPTED, "t1", None, 1), events.Cancel())
    assert _lived(events.TaskMissing(1), job=accepted).submissions == 0
    began = _lived(events.TaskSeen(1, "t1", TaskStatus.IN_PROGRESS, 5), events.TaskMissing(1), job=accepted)
    assert (began.status, began.submissions) == (Status.CANCELLED, 1)


def test_a_retry_fetches_a_picture_that_was_already_paid_for() -> None:
    done = _lived(*UPLOADED, events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1"))
    parked = World(done).after(events.CollectFailed("403"), LATER, Policy())
    assert parked is not None
    assert parked.job.status is Status.PARKED
    again = parked.after(events.Retry(), timedelta(), Policy())
    assert again is not None
    assert again.job.status is Status.COLLECTING
    assert again.job.due_at == again.now + timedelta(seconds=Policy().lease_seconds), "the sweep called another for it"


SUCCEEDED = (*UPLOADED, events.TaskSeen(1, "t1", TaskStatus.SUCCESS, 100, "http://cdn/1"), events.Collected(1, PICTURE))


def _labels(world: World, event: Event) -> list[str]:
    """The follow-ups that an event creates."""
    change = advance(world.job, event, Moment(world.now, 0.5, Policy()))
    return [one.follows.label for one in change.follow_ups if one.follows] if change else []


def test_what_is_wanted_before_the_success_comes_with_it() -> None:
    job = _lived(events.Act((Action.V2,)), *SUCCEEDED[:-1], job=wanting_job(Action.U1))
    assert _labels(World(job), SUCCEEDED[-1]) == ["U1", "V2"]


def test_the_same_action_is_one_follow_up_and_again_is_another_but_for_an_upscale() -> None:
    job = _lived(*SUCCEEDED, job=wanting_job(Action.U1))
    assert _labels(World(job), events.Act((Action.U1, Action.V2))) == ["V2"]
    job = _lived(events.Act((Action.U1, Action.V2)), job=job)
    assert _labels(World(job), events.Act((Action.U1, Action.V2))) == []
    assert _labels(World(job), events.Act((Action.U1, Action.V2), again=True)) == ["V2-2"]
    job = _lived(events.Act((Action.V2,), again=True), job=job)
    assert _labels(World(job), events.Act((Action.V2, Action.R), again=True)) == ["V2-3", "R"]


def test_a_follow_up_is_named_after_its_parent_within_the_limits_of_a_name() -> None:
    (child,) = follow_ups(
        new_job(request=new_job().request.model_copy(update={"custom_id": "x" * 200})), (Action.U4,), START
    )
    assert child.request.custom_id == "x" * 197 + "-U4"
    assert Job.model_validate_json(child.model_dump_json()) == child
    assert not child.request.then
    (nameless,) = follow_ups(new_job(), (Action.U4,), START)
    assert nameless.request.custom_id is None


def test_another_job_of_the_same_content_has_follow_ups_of_its_own() -> None:
    """The first was purged: what was made of it is not what is made of the second."""
    first, second = (next(follow_ups(new_job(order=order), (Action.U1,), START)) for order in (1, 2))
    assert first.id != second.id


def test_a_follow_up_is_let_through_to_nobody_but_whoever_has_its_parents_task() -> None:
    follows = Follows(job_id="job_0", order=1, action=Action.U1, upstream="spare")
    world = World(new_job(follows=follows))
    assert world.after(events.Release(), SOON, Policy()) is None
    assert world.after(events.Release("other/FAST"), SOON, Policy()) is None
    released = world.after(events.Release("spare/FAST"), SOON, Policy())
    assert released is not None
    assert released.job.upstream == "spare"


def test_where_an_attempt_went_is_known_when_it_is_forgotten_and_a_release_that_came_to_nothing_is_not() -> None:
    refused = events.Answer(1, AnswerKind.NO_ROOM, code=23)
    job = _lived(events.Release("spare"), events.Claim("w"), events.Commit(1), refused)
    world: World | None = World(job)
    for event in (events.Release("third"), events.LeaseEnd(), events.Release(), events.Claim("w")):
        world = world.after(event, LATER, Policy()) if world else None
    assert world is not None
    assert [attempt.number for attempt in world.job.attempts] == [2]
    assert [world.job.door_of(number) for number in (1, 2)] == ["spare", "default"]
    assert world.job.went_to == ((1, "spare"), (2, "default")), "it grows only where attempts went another way"
    seen = world.after(events.TaskSeen(1, "t1", TaskStatus.IN_PROGRESS), SOON, Policy())
    assert seen is not None
    assert (seen.job.status, seen.job.upstream) == (Status.RUNNING, "spare")
