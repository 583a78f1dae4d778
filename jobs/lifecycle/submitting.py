"""From waiting to the answer: what may happen to a job while it is being submitted."""

from __future__ import annotations

from datetime import timedelta

from jobs import events
from jobs.attempt import Attempt
from jobs.doors import DEFAULT, upstream_of
from jobs.events import AnswerKind
from jobs.job import Job, Status
from jobs.lifecycle.change import CONFLICT, Change, Moment, fail, finish, in_conflict, park
from jobs.policy import LOST_AGAIN_HEAD_START, MAX_LOST_CLAIMS, NO_ACCOUNT_HEAD_START
from jobs.settings import OnQueued

# The API works on it: what went wrong before no longer counts.
UNDER_WAY = {"backoffs": 0, "lost_claims": 0, "retrying_since": None}
# Nothing of its latest attempt has been accepted: the last byte is not out.
_NOT_SENT = frozenset({Status.WAITING, Status.RELEASED, Status.SUBMITTING})


def release(job: Job, event: events.Release, moment: Moment) -> Change | None:
    if job.status is not Status.WAITING or job.due_at is None or job.due_at > moment.now:
        return None
    if job.follows and job.follows.upstream != upstream_of(event.door):
        return None  # nobody else has the task that it carries on
    released = job.going_to(event.door).but(status=Status.RELEASED, due_at=moment.later(moment.policy.lease_seconds))
    return Change(released, "" if event.door == DEFAULT else f"to {event.door}")


def claim(job: Job, event: events.Claim, moment: Moment) -> Change | None:
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
        due_at=moment.later(moment.policy.lease_seconds),
    )
    return Change(changed, f"attempt {number} by {event.worker}")


def commit(job: Job, event: events.Commit, moment: Moment) -> Change | None:
    attempt = job.attempt
    if job.status is not Status.SUBMITTING or attempt is None or attempt.number != event.attempt:
        return None
    changed = job.with_attempt(
        attempt.but(committed_at=moment.now),
        status=Status.COMMITTED,
        commits=job.commits + 1,
        due_at=moment.later(moment.policy.lease_seconds),
    )
    return Change(changed, f"attempt {event.attempt}")


def answer(job: Job, event: events.Answer, moment: Moment) -> Change | None:
    attempt = job.find_attempt(event.attempt)
    if attempt is None or attempt.answered_at is not None or in_conflict(job):
        return None
    latest = attempt.number == job.current
    if not (latest or attempt.uncertain):
        return None
    if latest and job.status is Status.SUBMITTING and event.kind not in events.TAKING:
        return _refused(job, attempt, event, moment)
    if attempt.committed_at is None:
        return None
    if attempt.task_id and event.task_id and attempt.task_id != event.task_id:
        message = f"the answer names task {event.task_id}, the callback task {attempt.task_id}"
        return park(job, moment, CONFLICT, message)
    answered = attempt.but(
        answered_at=moment.now,
        code=event.code,
        description=event.description,
        position=event.position,
        task_id=attempt.task_id or event.task_id,
    )
    queued = job.queued_answers + (event.kind is AnswerKind.QUEUED)
    # Ordered again by a person meanwhile, and not sent again yet: what is known to be accepted now need not be.
    in_time = job.status in _NOT_SENT and attempt.uncertain and event.task_id is not None
    if in_time or (latest and job.status in (Status.COMMITTED, Status.UNSURE, Status.PARKED)):
        heard = job.but(current=attempt.number, queued_answers=queued, reason=None, finished_at=None)
        return _first_news(heard, answered, event, moment)
    refused = attempt.uncertain and event.kind not in events.TAKING
    late = "; it came late" if attempt.uncertain else "; a callback was faster"
    return Change(job.with_attempt(answered.but(refused=refused), queued_answers=queued), _words(event) + late)


def _first_news(job: Job, attempt: Attempt, event: events.Answer, moment: Moment) -> Change | None:
    """The answer is the first that is heard of a committed attempt."""
    match event.kind:
        case AnswerKind.ACCEPTED if event.task_id:
            due = moment.later(moment.policy.poll_seconds(0))
            changed = job.with_attempt(attempt, status=Status.ACCEPTED, due_at=due, lost_claims=0)
            return Change(changed, _words(event))
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
        return fail(job, moment, event.kind.value, _words(event))
    return back_off(job, event.kind, _words(event), moment, at_least_seconds=event.retry_after_seconds)


def back_off(job: Job, kind: AnswerKind, why: str, moment: Moment, *, at_least_seconds: float = 0.0) -> Change:
    if job.cancel_requested:
        return finish(job, Status.CANCELLED, moment, None, why)
    policy = moment.policy
    head_start = NO_ACCOUNT_HEAD_START if kind is AnswerKind.NO_ACCOUNT else 0
    delay = max(at_least_seconds, policy.backoff_seconds(job.backoffs + head_start, moment.chance))
    since = job.retrying_since or moment.now
    limit = since + timedelta(seconds=policy.resubmit_limit_seconds)
    # Where only a person can help, waiting for that person is not the job's failure.
    if moment.later(delay) > limit and kind not in events.PAUSING:
        return fail(job, moment, kind.value, f"not accepted within {policy.resubmit_limit_seconds:.0f} s; last: {why}")
    changed = job.but(status=Status.WAITING, due_at=moment.later(delay), backoffs=job.backoffs + 1)
    return Change(changed, f"{why}; again in {delay:.1f} s")


def no_answer(job: Job, event: events.NoAnswer, moment: Moment) -> Change | None:
    attempt = job.attempt
    if job.status is not Status.COMMITTED or attempt is None or attempt.number != event.attempt:
        return None
    heard = attempt.but(code=event.code, description=event.description)
    return _unsure(job.with_attempt(heard), moment, event.description)


def _unsure(job: Job, moment: Moment, why: str) -> Change:
    due = moment.later(moment.policy.poll_min_seconds)
    return Change(job.but(status=Status.UNSURE, due_at=due, lost_claims=0), why)


def lease_end(job: Job, moment: Moment) -> Change | None:
    if job.due_at is None or job.due_at > moment.now:
        return None
    match job.status:
        case Status.RELEASED:
            return Change(job.but(status=Status.WAITING, due_at=moment.now), "nobody claimed it in time")
        case Status.SUBMITTING if job.lost_claims + 1 >= MAX_LOST_CLAIMS:
            return park(job, moment, "poison", f"{MAX_LOST_CLAIMS} workers in a row were lost while uploading it")
        case Status.SUBMITTING:
            due = moment.now
            if job.lost_claims:  # those that were lost together part, for one of them may be what kills their workers
                due = moment.later(
                    moment.policy.backoff_seconds(job.lost_claims + LOST_AGAIN_HEAD_START, moment.chance)
                )
            changed = job.but(status=Status.WAITING, due_at=due, lost_claims=job.lost_claims + 1)
            return Change(changed, "its worker was lost before the last byte: unpaid")
        case Status.COMMITTED:
            return _unsure(job, moment, "its worker was lost after the last byte")
        case _:
            return None


def submit_again(job: Job, moment: Moment, why: str) -> Change:
    """The earlier task is known to be no more; its backoff is already behind it."""
    if job.cancel_requested:
        return finish(job, Status.CANCELLED, moment, None, why)
    since = job.retrying_since or moment.now
    if moment.now > since + timedelta(seconds=moment.policy.resubmit_limit_seconds):
        return fail(
            job,
            moment,
            "no_room",
            f"not started within {moment.policy.resubmit_limit_seconds:.0f} s; last: {why}",
        )
    return Change(job.but(status=Status.WAITING, due_at=moment.now), why + "; submits again")


def _words(event: events.Answer) -> str:
    code = "" if event.code is None else f"code {event.code} "
    return f"{event.kind}: {code}{event.description}".strip()
