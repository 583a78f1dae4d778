"""While the API has the task: what callbacks, polls and the clock may do to its job."""

from __future__ import annotations

from datetime import timedelta

from jobs import events
from jobs.attempt import Attempt, TaskStatus
from jobs.doors import DEFAULT
from jobs.events import AnswerKind
from jobs.job import AT_THE_API, Job, Status
from jobs.lifecycle.change import CONFLICT, Change, Moment, fail, finish, in_conflict, park
from jobs.lifecycle.submitting import UNDER_WAY, back_off, submit_again
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

_ENDED = frozenset({TaskStatus.FAILURE, TaskStatus.CANCEL})


def task_seen(job: Job, event: events.TaskSeen, moment: Moment) -> Change | None:
    if not 0 < event.attempt <= job.claims or in_conflict(job):
        return None
    before = job.find_attempt(event.attempt) or Attempt(
        number=event.attempt, claimed_at=moment.now, committed_at=moment.now
    )
    if job.status is Status.SUCCEEDED and before.taken:
        return None
    if before.task_id and before.task_id != event.task_id:
        message = f"attempt {event.attempt} is task {before.task_id}, yet task {event.task_id} came back"
        return park(job, moment, CONFLICT, message)
    if before.seen in _ENDED and event.status not in _ENDED | {TaskStatus.SUCCESS}:
        return None  # overtaken on its way: the task has ended since
    attempt = _with_news(before, event, moment)
    if job.status is Status.SUCCEEDED:
        return Change(job.with_attempt(attempt), f"{event.source}: {event.status}; this attempt was taken too")
    if event.status is TaskStatus.SUCCESS and event.image_url:
        return _succeeded_there(job, before, attempt, event, moment)
    # A failure that comes after a success without a picture came late: the success stands.
    if event.status in _ENDED and attempt.seen is event.status:
        return _ended_there(job, before, attempt, event, moment)
    return _alive_there(job, before, attempt, event, moment)


def _with_news(attempt: Attempt, event: events.TaskSeen, moment: Moment) -> Attempt:
    # Callbacks overtake each other: a task once seen running was not un-started.
    seen = max(attempt.seen or TaskStatus.UNKNOWN, event.status, key=_TASK_ORDER.index)
    return attempt.but(
        task_id=event.task_id,
        seen=seen,
        progress=max((p for p in (attempt.progress, event.progress) if p is not None), default=None),
        # What a task shows before it has succeeded is a preview, not its picture.
        image_url=(event.status is TaskStatus.SUCCESS and event.image_url) or attempt.image_url,
        seed=event.seed or attempt.seed,
        gone=False,
        refused=False,
        absences=0,
        absent_since=None,
        seen_at=moment.now,
    )


def _same_but_for_time(one: Attempt, other: Attempt) -> bool:
    return vars(one) | {"seen_at": None} == vars(other) | {"seen_at": None}


def _succeeded_there(
    job: Job, before: Attempt, attempt: Attempt, event: events.TaskSeen, moment: Moment
) -> Change | None:
    """The first success is the job's, whichever attempt it comes from, and however late."""
    detail = f"{event.source}: SUCCESS"
    if job.status is Status.COLLECTING:
        if _same_but_for_time(before, attempt):
            return None
        if attempt.number != job.current:
            return Change(job.with_attempt(attempt), detail + "; the first one's picture is being fetched")
        # A fresh link is no progress: the time that its picture has goes on from the success.
        renewed = attempt.but(seen_at=before.seen_at)
        return Change(
            job.with_attempt(renewed, due_at=moment.later(moment.policy.lease_seconds)), detail + ", new link"
        )
    if job.status.final:
        detail += f", after it was {job.status}"
    changed = job.with_attempt(
        attempt,
        status=Status.COLLECTING,
        current=attempt.number,
        due_at=moment.later(moment.policy.lease_seconds),
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
            return back_off(job, AnswerKind.NO_ROOM, words, moment)
        return fail(job, moment, event.failure or "failed", event.fail_reason or "the API gave no reason")
    if job.cancel_requested:
        return finish(job, Status.CANCELLED, moment, None, words)
    if attempt.withdrawn:
        return submit_again(job, moment, words)
    return fail(job, moment, "cancelled_there", "the task was cancelled at the API")


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
    # What is not worked on yet may still be turned away: the backoffs, and the limit on resubmitting, go on.
    so_far = UNDER_WAY if status is Status.RUNNING else {"lost_claims": 0}
    changed = job.with_attempt(
        attempt, status=status, current=attempt.number, due_at=due, reason=None, finished_at=None, **so_far
    )
    return Change(changed, words)


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


def task_missing(job: Job, event: events.TaskMissing, moment: Moment) -> Change | None:
    attempt = job.attempt
    if attempt is None or attempt.number != event.attempt or job.status not in AT_THE_API - {Status.UNSURE}:
        return None
    if job.cancel_requested:
        gone = job.with_attempt(attempt.but(gone=not attempt.started))  # what has begun was paid for
        return finish(gone, Status.CANCELLED, moment, None, "the API does not know the task")
    waits = moment.policy.on_queued is OnQueued.WAIT and attempt.code == 22
    if job.status is Status.QUEUED and attempt.seen is None and not waits:
        gone = job.with_attempt(attempt.but(gone=True))
        return submit_again(gone, moment, "answered 22, but the API does not know the task")
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
        return park(counted, moment, "lost_there", "the API no longer knows the task, which may have been paid for")
    # What it had accepted and then lost begins anew; what waited there goes on within the limit on resubmitting.
    so_far = {} if job.status is Status.QUEUED else UNDER_WAY
    gone = counted.with_attempt(attempt.but(gone=True), **so_far)
    return submit_again(gone, moment, f"the API lost the task before it started ({absences} absences)")


def patience_end(job: Job, event: events.PatienceEnd, moment: Moment) -> Change | None:
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


def withdrawn(job: Job, event: events.Withdrawn, moment: Moment) -> Change | None:
    attempt = job.attempt
    if attempt is None or attempt.number != event.attempt or job.status is not Status.QUEUED or not attempt.withdrawn:
        return None
    return submit_again(job, moment, "the earlier task is out of the way")


def deadline(job: Job, moment: Moment) -> Change | None:
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
    if job.upstream != DEFAULT:
        message += f"; it was sent to upstream {job.upstream}"
    if moment.now < last_news + timedelta(seconds=limit):
        return None
    return park(job, moment, kind, message)
