"""Submit: one submission, step by step.

    claim → upload all but the last byte → commit → last byte → answer

Until the commit is durable the upload cannot be accepted, so whatever goes wrong is free to try again. After it only
an answer that proves refusal allows another attempt.
"""

from __future__ import annotations

import logging
import time
from typing import assert_never

from jobs.applying import Applied
from jobs.errors import BlendqError, JobNotFound, PictureMissing, PictureUnreadable, StoreUnavailable
from jobs.events import PAUSING, TAKING, Answer, AnswerKind, Claim, Commit, NoAnswer
from jobs.job import Job, Status
from jobs.slots.pins import pin_of
from worker.carrying_on import CannotCarryOnError, action_body
from worker.context import Context
from worker.dispatch import pause
from worker.lease import LeavingError
from worker.proxies import UpstreamMissing
from worker.proxy.answers import Accepted, Exists, NotSent, Queued, Refused, Unsure, Verdict
from worker.proxy.body import CHUNK_BYTES, BlendBody, Body, Picture
from worker.proxy.client import ProxyClient
from worker.waking import wake_up

RECORD_RETRY_SECONDS = 0.5
RECORD_LIMIT_SECONDS = 600.0
# One such answer may be an account that reconnects; so many with nothing accepted between, and there is none.
NO_ACCOUNTS_IN_A_ROW = 10

_log = logging.getLogger(__name__)


class LeaseLostError(BlendqError):
    """Somebody else holds the job now: the last byte must not go out (I3)."""


def submit(context: Context, job_id: str) -> bool:
    """Upload a job that was released to us; of a follow-up, what is wanted of its parent's task.

    A wake-up that comes twice or late finds nothing to claim, and nothing happens.

    Returns:
        whether there was something to claim.
    """
    if context.leaving.is_set():
        return False  # released again when its lease ends
    claimed = context.store.apply(job_id, Claim(context.name), known=context.released.take(job_id))
    if not claimed.changed:
        _log.info("job=%s is %s: nothing to submit", job_id, claimed.after.status)
        return False
    commit = Committer(context, claimed)
    with context.keeper.holding(job_id, Status.SUBMITTING, Status.COMMITTED):
        event = _upload(context, claimed.after, commit)
        applied = _record(context, commit.last, event)
    if applied is not None:
        if isinstance(event, Answer):
            _heed(context, claimed.after, event)
        wake_up(context.store, context.wakeups, applied)
    return True


def _upload(context: Context, job: Job, commit: Committer) -> Answer | NoAnswer:
    """What came of the upload."""
    number = job.current
    try:
        proxy = context.proxies.of(job.upstream)
        verdict = proxy.submit(_body(context, job, proxy), commit, context.keeper.stop_when_leaving)
    except PictureMissing as error:
        return Answer(number, AnswerKind.INVALID, description=str(error))
    except CannotCarryOnError as error:
        return Answer(number, error.kind, description=str(error), retry_after_seconds=error.retry_after_seconds)
    except (LeaseLostError, StoreUnavailable, LeavingError, UpstreamMissing, PictureUnreadable) as error:
        # Raised before the body, between two pieces, or by the commit: so before the last byte. A job that is another's
        # ignores it.
        return Answer(number, AnswerKind.GIVEN_UP, description=str(error))
    return _event(number, verdict)


def _body(context: Context, job: Job, proxy: ProxyClient) -> Body:
    if job.follows:
        return action_body(context, job, job.follows)
    return BlendBody(
        request=job.request,
        pictures=[_picture(context, digest) for digest in job.request.images],
        notify_hook=context.hooks.url(job.id, job.current),
        state=context.hooks.state(job.id, job.current, job.request.state),
        nested_account_filter=proxy.nested_account_filter,
    )


def _picture(context: Context, digest: str) -> Picture:
    try:
        found = context.images.read(digest, CHUNK_BYTES)
    except OSError as error:
        raise PictureUnreadable(digest, error) from error
    if found is None:
        raise PictureMissing(f"picture {digest} is gone from the image store; enqueue the job again with the file")
    stored, content = found
    return Picture(stored.media_type, stored.path, stored.bytes, content)


class Committer:
    """Called when all but the last byte is sent; returns only when the commit is durable and ours, and still fresh.

    `last` is what was written last: the commit, once it is; until then the claim.
    """

    def __init__(self, context: Context, claimed: Applied) -> None:
        self._context = context
        self.last = claimed

    def __call__(self) -> None:
        job, store = self.last.after, self._context.store
        began = time.monotonic()
        committed = store.apply(job.id, Commit(job.current), known=self.last.known)
        if not committed.changed:
            raise LeaseLostError(f"job {job.id}: the lease on attempt {job.current} is lost")
        # Whoever was stopped meanwhile may have been given up, and the job parked and ordered again by a person.
        if time.monotonic() - began > store.policy.lease_seconds:
            raise LeaseLostError(f"job {job.id}: the commit of attempt {job.current} took longer than its lease")
        self.last = committed


def _event(number: int, verdict: Verdict | NotSent) -> Answer | NoAnswer:
    match verdict:
        case Accepted() | Exists():
            return Answer(number, AnswerKind.ACCEPTED, verdict.task_id, None, verdict.code, verdict.description)
        case Queued(task_id, position, code, description):
            return Answer(number, AnswerKind.QUEUED, task_id, position, code, description)
        case Refused(kind, message, retry_after, code):
            answer = AnswerKind(kind.value)
            return Answer(number, answer, None, None, code, message, retry_after_seconds=retry_after or 0.0)
        case NotSent(message):
            return Answer(number, AnswerKind.NOT_SENT, description=message)
        case Unsure(message, code):
            return NoAnswer(number, message, code)
        case _:  # pragma: no cover
            assert_never(verdict)


def _record(context: Context, last: Applied, event: Answer | NoAnswer) -> Applied | None:
    """Write the answer down, however long Redis is away or without its data: it may have been paid for.

    Past a limit the job is left to whoever finds its lease ended, and settles it by asking the API.
    """
    job, give_up_at = last.after, time.monotonic() + RECORD_LIMIT_SECONDS
    while True:
        try:
            return context.store.apply(job.id, event, known=last.known)
        except (StoreUnavailable, JobNotFound) as error:
            if time.monotonic() > give_up_at:
                _log.error("job=%s attempt=%d answer not recorded: %s", job.id, job.current, error)
                return None
            time.sleep(RECORD_RETRY_SECONDS)


def _heed(context: Context, job: Job, answer: Answer) -> None:
    """What the answer says beyond this one job."""
    circuit, upstream = context.store.circuit, job.upstream
    if answer.kind in TAKING and answer.task_id:
        circuit.trust(upstream)
        return
    lasts = (
        answer.kind is AnswerKind.NO_ACCOUNT
        and _speaks_for_all(context, job)
        and circuit.count_no_account(upstream) >= NO_ACCOUNTS_IN_A_ROW
    )
    if answer.kind in PAUSING or lasts:
        pause(context, upstream, answer.kind.value, answer.description)


def _speaks_for_all(context: Context, job: Job) -> bool:
    """Whether "no account" for this job is one for any job that waits: not where it asks for an account, or has the
    task of one, and others ask for something else.
    """
    pin = pin_of(job)
    asks = job.follows or pin.modes or pin.instance
    return not asks or all(queue.pin == str(pin) for queue in context.store.turns.queues())
