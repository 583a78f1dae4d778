"""The end of a job, and what a person may do about it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from jobs import events
from jobs.job import AT_THE_API, RETRIABLE, Job, Status, TaskStatus
from jobs.lifecycle.change import Change, Moment, finish, park


def collected(job: Job, event: events.Collected, moment: Moment) -> Change | None:
    if job.status is not Status.COLLECTING or job.current != event.attempt:
        return None
    changed = job.but(picture=event.picture)
    return finish(changed, Status.SUCCEEDED, moment, None, event.picture.digest)


def collect_failed(job: Job, event: events.CollectFailed, moment: Moment) -> Change | None:
    attempt = job.attempt
    if job.status is not Status.COLLECTING or attempt is None:
        return None
    policy = moment.policy
    since = attempt.seen_at or attempt.claimed_at
    if moment.now > since + timedelta(seconds=policy.collect_limit_seconds):
        return park(job, moment, "picture", f"finished there, but its picture cannot be fetched: {event.description}")
    delay = policy.backoff_seconds(job.collect_failures, moment.chance)
    changed = job.but(collect_failures=job.collect_failures + 1, due_at=moment.later(delay))
    return Change(changed, f"{event.description}; again in {delay:.1f} s")


def cancel(job: Job, moment: Moment) -> Change | None:
    if job.status in (Status.WAITING, Status.RELEASED, Status.SUBMITTING):
        return finish(job, Status.CANCELLED, moment, None, "before it was sent")
    if job.status in AT_THE_API | {Status.COMMITTED} and not job.cancel_requested:
        return Change(job.but(cancel_requested=True), "asks the API to cancel it")
    return None


def retry(job: Job, moment: Moment) -> Change | None:
    if job.status not in RETRIABLE:
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
