"""The one table of what may happen to a job: (job, event) -> change.

Pure: the clock and chance are arguments. Whatever the table does not list changes nothing, so an event that comes
late, twice or out of order is harmless. `store.JobStore.apply` is the only caller that writes what comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, assert_never

from jobs import events
from jobs.events import AnswerKind, Event
from jobs.job import AT_THE_API, Attempt, Job, Reason, Status, TaskStatus
from jobs.policy import (
    COLLECT_LEASE_SECONDS,
    MAX_LOST_CLAIMS,
    NO_ACCOUNT_HEAD_START,
    RELEASE_LEASE_SECONDS,
    Policy,
)
from jobs.settings import OnQueued

# A job's task only ever moves to the right here; whatever says otherwise came late.
_FORWARD = (
    Status.COMMITTED,
    Status.UNSURE,
    Status.QUEUED,
    Status.ACCEPTED,
    Status.RUNNING,
    Status.COLLECTING,
    Status.SUCCEEDED,
)

_TASK_ORDER = (
    TaskStatus.UNKNOWN,
    TaskStatus.NOT_START,
    TaskStatus.SUBMITTED,
    TaskStatus.MODAL,
    TaskStatus.IN_PROGRESS,
    TaskStatus.CANCEL,
    TaskStatus.FAILURE,
    TaskStatus.SUCCESS,  # last: a success rescues what was reported as failed
)
CONFLICT = "conflict"  # the one reason that no news from the API can lift: the news may be another job's


@dataclass(frozen=True)
class Moment:
    """What a decision may depend on beside the job and the event."""

    now: datetime
    chance: float
    policy: Policy

    def later(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Change:
    """The job as it is to be written, and a line for its history."""

    job: Job
    detail: str = ""


def advance(job: Job, event: Event, moment: Moment) -> Change | None:  # noqa: C901  (one line an event)
    """Decide what an event does to a job.

    Args:
        job: the record as it was read.
        event: what happened.
        moment: the store's clock, a random number, and the policy.

    Returns:
        The changed job, or None when the event means nothing to a job in this status.
    """
    match event:
        case events.Release():
            return _release(job, moment)
        case events.Claim():
            return _claim(job, event, moment)
        case events.Commit():
            return _commit(job, event, moment)
        case events.Answer():
            return _answer(job, event, moment)
        case events.NoAnswer():
            return _no_answer(job, event, moment)
        case events.LeaseEnd():
            return _lease_end(job, moment)
        case events.TaskSeen():
            return _task_seen(job, event, moment)
        case events.TaskMissing():
            return _task_missing(job, event, moment)
        case events.PatienceEnd():
            return _patience_end(job, event, moment)
        case events.Withdrawn():
            return _withdrawn(job, event, moment)
        case events.Collected():
            return _collected(job, event, moment)
        case events.CollectFailed():
            return _collect_failed(job, event, moment)
        case events.Deadline():
            return _deadline(job, moment)
        case events.Conflict():
            return _park(job, moment, CONFLICT, f"task {event.task_id} is also claimed by job {event.other}")
        case events.Cancel():
            return _cancel(job, moment)
        case events.Retry():
            return _retry(job, moment)
        case _:  # pragma: no cover
            assert_never(event)


# Submitting ------------------------------------------------------------


def _release(job: Job, moment: Moment) -> Change | None:
    if job.status is not Status.WAITING or job.due_at is None or job.due_at > moment.now:
        return None
    return Change(job.but(status=Status.RELEASED, due_at=moment.later(RELEASE_LEASE_SECONDS)))


def _claim(job: Job, event: events.Claim, moment: Moment) -> Change | None:
    if job.status is not Status.RELEASED:
        return None
    number = job.claims + 1
    kept = tuple(attempt for attempt in job.attempts if not attempt.forgettable)
    attempt = Attempt(number=number, worker=event.worker, claimed_at=moment.now)
    changed = job.but(
        status=Status.SUBMITTING,
        attempts=(*kept, attempt),
        current=number,
        claims=number,
        retrying_since=job.retrying_since or moment.now,
        due_at=moment.later(moment.policy.submit_lease_seconds),
    )
    return Change(changed, f"attempt {number} by {event.worker}")


def _commit(job: Job, event: events.Commit, moment: Moment) -> Change | None:
    attempt = job.attempt
    if job.status is not Status.SUBMITTING or attempt is None or attempt.number != event.attempt:
        return None
    changed = job.with_attempt(
        attempt.but(committed_at=moment.now),
        status=Status.COMMITTED,
        commits=job.commits + 1,
        due_at=moment.later(moment.policy.answer_lease_seconds),
    )
    return Change(changed, f"attempt {event.attempt}")


def _answer(job: Job, event: events.Answer, moment: Moment) -> Change | None:
    attempt = job.attempt
    if attempt is None or attempt.number != event.attempt or attempt.answered_at is not None or _in_conflict(job):
        return None
    if job.status is Status.SUBMITTING and event.kind not in events.TAKING:
        return _refused(job, attempt, event, moment)
    if attempt.committed_at is None:
        return None
    if attempt.task_id and event.task_id and attempt.task_id != event.task_id:
        message = f"the answer names task {event.task_id}, the callback task {attempt.task_id}"
        return _park(job, moment, CONFLICT, message)
    answered = attempt.but(
        answered_at=moment.now,
        code=event.code,
        description=event.description,
        position=event.position,
        task_id=attempt.task_id or event.task_id,
    )
    job = job.but(queued_answers=job.queued_answers + (event.kind is AnswerKind.QUEUED))
    if job.status in (Status.COMMITTED, Status.UNSURE, Status.PARKED):
        return _first_news(job.but(reason=None, finished_at=None), answered, event, moment)
    return Change(job.with_attempt(answered), _words(event) + "; a callback was faster")


def _first_news(job: Job, attempt: Attempt, event: events.Answer, moment: Moment) -> Change | None:
    """The answer is the first that is heard of a committed attempt."""
    match event.kind:
        case AnswerKind.ACCEPTED if event.task_id:
            due = moment.later(moment.policy.poll_seconds(0))
            changed = job.with_attempt(attempt, status=Status.ACCEPTED, due_at=due)
            return Change(_under_way(changed), _words(event))
        case AnswerKind.QUEUED if event.task_id:
            return _queued(job, attempt, event, moment)
        case AnswerKind.QUEUED if moment.policy.on_queued is not OnQueued.WAIT:
            return _refused(job, attempt, event, moment)
        case AnswerKind.QUEUED | AnswerKind.ACCEPTED:
            return _unsure(job.with_attempt(attempt), moment, _words(event) + ", without a task id")
        case _:
            return _refused(job, attempt, event, moment)


def _queued(job: Job, attempt: Attempt, event: events.Answer, moment: Moment) -> Change:
    """A 22 with a task id: it is accepted there, as a rule; the policy decides when we look, and what then."""
    policy = moment.policy
    if policy.on_queued is OnQueued.WAIT:
        delay = policy.poll_seconds(0)
    else:
        delay = policy.backoff_seconds(job.backoffs, moment.chance)
    changed = job.with_attempt(
        attempt,
        status=Status.QUEUED,
        due_at=moment.later(delay),
        backoffs=job.backoffs + 1,
        lost_claims=0,
    )
    return Change(changed, f"{_words(event)}; looks again in {delay:.1f} s")


def _refused(job: Job, attempt: Attempt, event: events.Answer, moment: Moment) -> Change:
    """Nothing was accepted: again after a backoff, or never."""
    refused = attempt.but(
        refused=True,
        answered_at=moment.now,
        code=event.code,
        description=event.description,
        position=event.position,
    )
    job = job.with_attempt(refused, lost_claims=0)
    if event.kind in events.HOPELESS:
        return _fail(job, moment, event.kind.value, _words(event))
    return _back_off(job, event.kind, _words(event), moment, at_least_seconds=event.retry_after_seconds)


def _back_off(job: Job, kind: AnswerKind, why: str, moment: Moment, *, at_least_seconds: float = 0.0) -> Change:
    policy = moment.policy
    head_start = NO_ACCOUNT_HEAD_START if kind is AnswerKind.NO_ACCOUNT else 0
    delay = max(at_least_seconds, policy.backoff_seconds(job.backoffs + head_start, moment.chance))
    since = job.retrying_since or moment.now
    limit = since + timedelta(seconds=policy.resubmit_limit_seconds)
    # Where only a person can help, waiting for that person is not the job's failure.
    if moment.later(delay) > limit and kind not in events.PAUSING:
        return _fail(job, moment, kind.value, f"not accepted within {policy.resubmit_limit_seconds:.0f} s; last: {why}")
    changed = job.but(status=Status.WAITING, due_at=moment.later(delay), backoffs=job.backoffs + 1)
    return Change(changed, f"{why}; again in {delay:.1f} s")


def _no_answer(job: Job, event: events.NoAnswer, moment: Moment) -> Change | None:
    attempt = job.attempt
    if job.status is not Status.COMMITTED or attempt is None or attempt.number != event.attempt:
        return None
    heard = attempt.but(code=event.code, description=event.description)
    return _unsure(job.with_attempt(heard), moment, event.description)


def _unsure(job: Job, moment: Moment, why: str) -> Change:
    due = moment.later(moment.policy.poll_min_seconds)
    return Change(job.but(status=Status.UNSURE, due_at=due, lost_claims=0), why)


def _lease_end(job: Job, moment: Moment) -> Change | None:
    if job.due_at is None or job.due_at > moment.now:
        return None
    match job.status:
        case Status.RELEASED:
            return Change(job.but(status=Status.WAITING, due_at=moment.now), "nobody claimed it in time")
        case Status.SUBMITTING if job.lost_claims + 1 >= MAX_LOST_CLAIMS:
            return _park(job, moment, "poison", f"{MAX_LOST_CLAIMS} workers in a row were lost while uploading it")
        case Status.SUBMITTING:
            changed = job.but(status=Status.WAITING, due_at=moment.now, lost_claims=job.lost_claims + 1)
            return Change(changed, "its worker was lost before the last byte: unpaid")
        case Status.COMMITTED:
            return _unsure(job, moment, "its worker was lost after the last byte")
        case _:
            return None


# At the API ------------------------------------------------------------


def _task_seen(job: Job, event: events.TaskSeen, moment: Moment) -> Change | None:
    if not 0 < event.attempt <= job.claims or job.status is Status.SUCCEEDED or _in_conflict(job):
        return None
    before = job.find_attempt(event.attempt) or Attempt(
        number=event.attempt, claimed_at=moment.now, committed_at=moment.now
    )
    if before.task_id and before.task_id != event.task_id:
        message = f"attempt {event.attempt} is task {before.task_id}, yet task {event.task_id} came back"
        return _park(job, moment, CONFLICT, message)
    attempt = _with_news(before, event, moment)
    if event.status is TaskStatus.SUCCESS and event.image_url:
        return _succeeded_there(job, before, attempt, event, moment)
    # A failure that comes after a success without a picture came late: the success stands.
    if event.status in (TaskStatus.FAILURE, TaskStatus.CANCEL) and attempt.seen is event.status:
        return _ended_there(job, before, attempt, event, moment)
    return _alive_there(job, before, attempt, event, moment)


def _with_news(attempt: Attempt, event: events.TaskSeen, moment: Moment) -> Attempt:
    # Callbacks overtake each other: a task once seen running was not un-started.
    seen = max(attempt.seen or TaskStatus.UNKNOWN, event.status, key=_TASK_ORDER.index)
    return attempt.but(
        task_id=event.task_id,
        seen=seen,
        progress=max((p for p in (attempt.progress, event.progress) if p is not None), default=None),
        image_url=event.image_url or attempt.image_url,
        gone=False,
        refused=False,
        absences=0,
        absent_since=None,
        seen_at=moment.now,
    )


def _same_but_for_time(one: Attempt, other: Attempt) -> bool:
    return one.but(seen_at=None) == other.but(seen_at=None)


def _succeeded_there(
    job: Job, before: Attempt, attempt: Attempt, event: events.TaskSeen, moment: Moment
) -> Change | None:
    """The first success is the job's, whichever attempt it comes from, and however late."""
    if job.status is Status.COLLECTING and (attempt.number != job.current or _same_but_for_time(before, attempt)):
        return None
    detail = f"{event.source}: SUCCESS"
    if job.status is Status.COLLECTING:
        return Change(job.with_attempt(attempt, due_at=moment.later(COLLECT_LEASE_SECONDS)), detail + ", new link")
    if job.status.final:
        detail += f", after it was {job.status}"
    changed = job.with_attempt(
        attempt,
        status=Status.COLLECTING,
        current=attempt.number,
        due_at=moment.later(COLLECT_LEASE_SECONDS),
        reason=None,
        finished_at=None,
        backoffs=0,
        collect_failures=0,
    )
    return Change(changed, detail)


def _ended_there(job: Job, before: Attempt, attempt: Attempt, event: events.TaskSeen, moment: Moment) -> Change | None:
    words = f"{event.source}: {event.status}" + (f" ({event.fail_reason})" if event.fail_reason else "")
    if attempt.number != job.current or job.status not in AT_THE_API | {Status.COMMITTED}:
        return None if _same_but_for_time(before, attempt) else Change(job.with_attempt(attempt), words)
    job = job.with_attempt(attempt)
    if event.status is TaskStatus.FAILURE:
        if event.failure == "queue_full":  # it ended there without having run
            return _back_off(job, AnswerKind.NO_ROOM, words, moment)
        return _fail(job, moment, event.failure or "failed", event.fail_reason or "the API gave no reason")
    if job.cancel_requested:
        return _finish(job, Status.CANCELLED, moment, None, words)
    if attempt.withdrawn:
        return _submit_again(job, moment, words)
    return _fail(job, moment, "cancelled_there", "the task was cancelled at the API")


def _alive_there(job: Job, before: Attempt, attempt: Attempt, event: events.TaskSeen, moment: Moment) -> Change | None:
    status = _status_of(job, attempt, event)
    if status is job.status and _same_but_for_time(before, attempt):
        return None
    words = f"{event.source}: {event.status}" + (f" {event.progress}%" if event.progress is not None else "")
    if status is job.status and attempt.number != job.current:
        return Change(job.with_attempt(attempt), words)
    if status is job.status and status not in AT_THE_API:
        return Change(job.with_attempt(attempt), words)
    age = (moment.now - (attempt.committed_at or moment.now)).total_seconds()
    due = moment.later(moment.policy.poll_seconds(age))
    changed = job.with_attempt(
        attempt, status=status, current=attempt.number, due_at=due, reason=None, finished_at=None
    )
    if status is Status.QUEUED:  # alive, but not started: the limit on resubmitting goes on
        return Change(changed.but(backoffs=0), words)
    return Change(_under_way(changed), words)


def _under_way(job: Job) -> Job:
    """The API took it and works on it: what went wrong before no longer counts."""
    return job.but(backoffs=0, lost_claims=0, retrying_since=None)


def _in_conflict(job: Job) -> bool:
    return job.reason is not None and job.reason.kind == CONFLICT


def _status_of(job: Job, attempt: Attempt, event: events.TaskSeen) -> Status:
    """Where a living task puts its job; backwards never."""
    if job.status in (Status.FAILED, Status.CANCELLED, Status.COLLECTING):
        return job.status  # a task that lives on changes nothing there; its success will
    if attempt.number != job.current and job.status in _FORWARD:
        return job.status
    if event.status is TaskStatus.IN_PROGRESS:
        shown = Status.RUNNING
    elif event.status in (TaskStatus.NOT_START, TaskStatus.UNKNOWN) and attempt.code == 22:
        shown = Status.QUEUED
    else:
        shown = Status.ACCEPTED
    if job.status not in _FORWARD:  # not sent again yet, or parked: an earlier attempt lives, so pay for no other
        return shown
    return max(job.status, shown, key=_FORWARD.index)


def _task_missing(job: Job, event: events.TaskMissing, moment: Moment) -> Change | None:
    attempt = job.attempt
    if attempt is None or attempt.number != event.attempt or job.status not in AT_THE_API - {Status.UNSURE}:
        return None
    gone = job.with_attempt(attempt.but(gone=True))
    if job.cancel_requested:
        return _finish(gone, Status.CANCELLED, moment, None, "the API does not know the task")
    if attempt.withdrawn:
        return _submit_again(gone, moment, "the API does not know the task any more")
    waits = moment.policy.on_queued is OnQueued.WAIT and attempt.code == 22
    if job.status is Status.QUEUED and attempt.seen is None and not waits:
        return _submit_again(gone, moment, "answered 22, but the API does not know the task")
    return _absent(job, attempt, moment, never_again=waits or attempt.started)


def _absent(job: Job, attempt: Attempt, moment: Moment, *, never_again: bool) -> Change | None:
    """One absence proves nothing; enough of them over enough time do (a server that restarted forgets)."""
    policy = moment.policy
    since = attempt.absent_since or moment.now
    absences = attempt.absences + 1
    over = (moment.now - since).total_seconds() >= policy.missing_after_seconds
    counted = job.with_attempt(attempt.but(absences=absences, absent_since=since))
    if absences < policy.missing_absences or not over:
        due = moment.later(max(policy.poll_min_seconds, policy.missing_after_seconds / policy.missing_absences))
        return Change(counted.but(due_at=due), f"the API does not know the task ({absences})")
    if never_again:
        return _park(counted, moment, "lost_there", "the API no longer knows the task, which may have been paid for")
    gone = counted.with_attempt(attempt.but(gone=True))
    return _submit_again(gone, moment, f"the API lost the task before it started ({absences} absences)")


def _patience_end(job: Job, event: events.PatienceEnd, moment: Moment) -> Change | None:
    attempt = job.attempt
    if attempt is None or attempt.number != event.attempt or job.status is not Status.QUEUED or attempt.started:
        return None
    if attempt.withdrawn or attempt.answered_at is None or moment.policy.on_queued is OnQueued.WAIT:
        return None
    patience = moment.policy.queued_patience_seconds
    if moment.policy.on_queued is OnQueued.CONFIRM and moment.now < attempt.answered_at + timedelta(seconds=patience):
        return None
    due = moment.later(moment.policy.poll_min_seconds)
    return Change(job.with_attempt(attempt.but(withdrawn=True), due_at=due), "asks the API to cancel the task")


def _withdrawn(job: Job, event: events.Withdrawn, moment: Moment) -> Change | None:
    attempt = job.attempt
    if attempt is None or attempt.number != event.attempt or job.status is not Status.QUEUED or not attempt.withdrawn:
        return None
    return _submit_again(job, moment, "the earlier task is out of the way")


def _submit_again(job: Job, moment: Moment, why: str) -> Change:
    """The earlier task is known to be no more; its backoff is already behind it."""
    since = job.retrying_since or moment.now
    if moment.now > since + timedelta(seconds=moment.policy.resubmit_limit_seconds):
        return _fail(
            job,
            moment,
            "no_room",
            f"not started within {moment.policy.resubmit_limit_seconds:.0f} s; last: {why}",
        )
    return Change(job.but(status=Status.WAITING, due_at=moment.now), why + "; submits again")


def _deadline(job: Job, moment: Moment) -> Change | None:
    attempt = job.attempt
    if attempt is None or job.status not in AT_THE_API:
        return None
    policy = moment.policy
    last_news = attempt.seen_at or attempt.answered_at or attempt.committed_at or attempt.claimed_at
    if job.status is Status.UNSURE:
        limit, kind = policy.unsure_limit_seconds, "unsure"
        message = "no answer came and no task was found: it may have been paid for"
    else:
        limit, kind = policy.task_limit_seconds, "silent"
        message = f"nothing new was heard of the task for {limit:.0f} s"
    if moment.now < last_news + timedelta(seconds=limit):
        return None
    return _park(job, moment, kind, message)


# Finishing ------------------------------------------------------------


def _collected(job: Job, event: events.Collected, moment: Moment) -> Change | None:
    if job.status is not Status.COLLECTING or job.current != event.attempt:
        return None
    changed = job.but(picture=event.picture)
    return _finish(changed, Status.SUCCEEDED, moment, None, event.picture.digest)


def _collect_failed(job: Job, event: events.CollectFailed, moment: Moment) -> Change | None:
    attempt = job.attempt
    if job.status is not Status.COLLECTING or attempt is None:
        return None
    policy = moment.policy
    since = attempt.seen_at or attempt.claimed_at
    if moment.now > since + timedelta(seconds=policy.collect_limit_seconds):
        return _park(job, moment, "picture", f"finished there, but its picture cannot be fetched: {event.description}")
    delay = policy.backoff_seconds(job.collect_failures, moment.chance)
    changed = job.but(collect_failures=job.collect_failures + 1, due_at=moment.later(delay))
    return Change(changed, f"{event.description}; again in {delay:.1f} s")


def _cancel(job: Job, moment: Moment) -> Change | None:
    if job.status in (Status.WAITING, Status.RELEASED, Status.SUBMITTING):
        return _finish(job, Status.CANCELLED, moment, None, "before it was sent")
    if job.status in AT_THE_API | {Status.COMMITTED} and not job.cancel_requested:
        return Change(job.but(cancel_requested=True), "asks the API to cancel it")
    return None


def _retry(job: Job, moment: Moment) -> Change | None:
    if job.status not in (Status.FAILED, Status.CANCELLED, Status.PARKED):
        return None
    fresh: dict[str, Any] = {
        "reason": None,
        "finished_at": None,
        "backoffs": 0,
        "lost_claims": 0,
        "collect_failures": 0,
        "cancel_requested": False,
        "retrying_since": None,
    }
    done = next((a for a in job.attempts if a.seen is TaskStatus.SUCCESS and a.image_url and not a.gone), None)
    if done:  # already paid for and finished there: only the picture is missing
        changed = job.with_attempt(done.but(seen_at=moment.now), status=Status.COLLECTING, current=done.number, **fresh)
        return Change(changed.but(due_at=moment.now), "fetches the picture again")
    return Change(job.but(status=Status.WAITING, due_at=moment.now, **fresh), "a person's order")


def _fail(job: Job, moment: Moment, kind: str, message: str) -> Change:
    return _finish(job, Status.FAILED, moment, Reason(kind=kind, message=message), f"{kind}: {message}")


def _park(job: Job, moment: Moment, kind: str, message: str) -> Change | None:
    if job.status is Status.PARKED:
        return None
    return _finish(job, Status.PARKED, moment, Reason(kind=kind, message=message), f"{kind}: {message}")


def _finish(job: Job, status: Status, moment: Moment, reason: Reason | None, detail: str) -> Change:
    return Change(job.but(status=status, reason=reason, due_at=None, finished_at=moment.now), detail)


def _words(event: events.Answer) -> str:
    code = "" if event.code is None else f"code {event.code} "
    return f"{event.kind}: {code}{event.description}".strip()
