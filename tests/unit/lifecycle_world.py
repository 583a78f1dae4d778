"""What the lifecycle's tests share: every event that could happen to a job, and what must hold whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

from jobs import events
from jobs.actions import Action
from jobs.attempt import Attempt, TaskStatus
from jobs.events import AnswerKind, Event
from jobs.follow_ups import follow_up_id
from jobs.job import Job, Picture, Status
from jobs.lifecycle import CONFLICT, Change, Moment, advance
from jobs.policy import Policy
from jobs.request import BlendRequest

START = datetime(2026, 1, 1, tzinfo=UTC)
SOON = timedelta(seconds=1)
LATER = timedelta(days=40)  # past every limit and lease there is
PREVIEW = "http://cdn/preview"  # servers show it while the task runs, in the place of its picture
PICTURE = Picture(digest="sha256:" + "0" * 64, media_type="image/png", width=8, height=8, bytes=80, url="http://cdn/1")


def new_job(**fields: object) -> Job:
    request = BlendRequest(images=("sha256:" + "a" * 64, "sha256:" + "b" * 64))
    return Job(id="job_1", request=request, created_at=START, due_at=START).but(**fields)


def wanting_job(*then: Action, **fields: object) -> Job:
    """One of which more is wanted once it has succeeded."""
    job = new_job(**fields)
    return job.but(request=job.request.model_copy(update={"then": then}))


@dataclass(frozen=True)
class World:
    """A job, the time, and whether a person ever ordered a retry (which alone may pay again)."""

    job: Job
    now: datetime = START
    ordered: bool = False

    def after(self, event: Event, wait: timedelta, policy: Policy, chance: float = 0.5) -> World | None:
        """The world once `event` has happened; None where it changes nothing. Checks the invariants on the way."""
        now = self.now + wait
        change = advance(self.job, event, Moment(now, chance, policy))
        if change is None:
            return None
        world = World(change.job, now, self.ordered or isinstance(event, events.Retry))
        check(self, event, change, world)
        return world


def events_for(job: Job) -> Iterator[Event]:
    """Every event, true or false, in time or stale, that could reach the job."""
    yield from (events.Release(), events.Release("spare"), events.Claim("w1"), events.LeaseEnd(), events.Deadline())
    yield events.Reuse("job_3", PICTURE)
    yield from (events.Cancel(), events.Retry(), events.CollectFailed("no"), events.Conflict("job_2", "task t9"))
    yield from (events.Act((Action.U1, Action.V2)), events.Act((Action.R,), again=True))
    for attempt in {job.claims, job.claims - 1, job.claims + 1} - {-1}:
        yield from events_of(attempt)


@cache
def events_of(attempt: int) -> tuple[Event, ...]:
    return tuple(_events_of(attempt))


def _events_of(attempt: int) -> Iterator[Event]:
    task = f"task-{attempt}"
    yield events.Commit(attempt)
    yield events.NoAnswer(attempt, "cut")
    yield from (events.TaskMissing(attempt), events.PatienceEnd(attempt), events.Withdrawn(attempt))
    yield events.Collected(attempt, PICTURE)
    yield events.SeedTold(attempt, "7")
    for kind in AnswerKind:
        named = kind in (AnswerKind.ACCEPTED, AnswerKind.QUEUED)
        code = 22 if kind is AnswerKind.QUEUED else None
        yield events.Answer(attempt, kind, task_id=task if named else None, code=code)
    yield events.Answer(attempt, AnswerKind.QUEUED, task_id=None, code=22)
    yield events.Answer(attempt, AnswerKind.ACCEPTED, task_id="task-other")
    for status in TaskStatus:
        yield events.TaskSeen(attempt, task, status, 50, "http://cdn/1" if status is TaskStatus.SUCCESS else None)
    yield events.TaskSeen(attempt, task, TaskStatus.FAILURE, failure="queue_full")
    yield events.TaskSeen(attempt, task, TaskStatus.IN_PROGRESS, 50, PREVIEW)
    yield events.TaskSeen(attempt, "task-other", TaskStatus.IN_PROGRESS, 10)


def excused(attempt: Attempt) -> bool:
    """Whether there is proof that a committed attempt needs no picture to be waited for: it may be paid again."""
    ended = attempt.seen in (TaskStatus.FAILURE, TaskStatus.CANCEL)
    return attempt.committed_at is None or attempt.refused or attempt.gone or attempt.withdrawn or ended


def check(before: World, event: Event, change: Change, after: World) -> None:
    old, new = before.job, change.job

    def said() -> str:
        return f"{old.status} --{event}--> {new.status}: {change.detail}"

    # I1: whoever is not final has somebody who will look at it; whoever is final has a time, and a reason if it failed.
    assert new.status.final == (new.due_at is None) == (new.finished_at is not None), said()
    assert (new.status in (Status.FAILED, Status.PARKED)) == (new.reason is not None), said()
    # I2: where a job may be submitted, nothing committed is left that might still be accepted.
    if new.status in (Status.WAITING, Status.RELEASED, Status.SUBMITTING) and not after.ordered:
        assert all(excused(attempt) for attempt in new.attempts), said()
    forgotten = {attempt.number for attempt in old.attempts} - {attempt.number for attempt in new.attempts}
    assert all(attempt.forgettable for attempt in old.attempts if attempt.number in forgotten), said()
    assert new.commits - old.commits == isinstance(event, events.Commit), said()
    # I3: only the holder of the current attempt commits, and only while it is being uploaded.
    if isinstance(event, events.Commit):
        assert (old.status, old.current) == (Status.SUBMITTING, event.attempt), said()
    # I2: an attempt never changes its upstream; so whoever asks about it asks where it was sent.
    for number in range(1, old.claims + 1):
        assert new.door_of(number) == old.door_of(number), said()
    # I5: an attempt never changes its task.
    for attempt in old.attempts:
        now = new.find_attempt(attempt.number)
        assert now is None or attempt.task_id in (None, now.task_id), said()
    # I5: what is fetched is the picture, and not what was shown on the way there.
    assert all(attempt.image_url != PREVIEW for attempt in new.attempts), said()
    # I6: one success, which nothing but a conflict questions.
    if old.status is Status.SUCCEEDED:
        conflict = new.reason is not None and new.reason.kind == CONFLICT
        assert conflict or (new.status, new.picture) == (old.status, old.picture), said()
    elif new.status is Status.SUCCEEDED:
        assert isinstance(event, events.Collected | events.Reuse), said()
        assert old.picture is None, said()
        # I2: what has another's picture was never sent.
        assert isinstance(event, events.Reuse) <= (not new.attempts and not new.commits), said()
    assert new.claims >= old.claims, said()
    # I1 of follow-ups: with the success, all that was wanted is created; whatever is created is new, and known.
    assert tuple(one.id for one in change.follow_ups) == new.follow_ups[len(old.follow_ups) :], said()
    assert len(set(new.follow_ups)) == len(new.follow_ups), said()
    assert not change.follow_ups or new.status is Status.SUCCEEDED, said()
    if new.status is Status.SUCCEEDED:
        assert {follow_up_id(new, action) for action in new.request.then} <= set(new.follow_ups), said()
