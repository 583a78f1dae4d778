"""The end of a job, and what a person may do about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from jobs import events
from jobs.actions import Action
from jobs.attempt import TaskStatus
from jobs.follow_ups import follow_ups
from jobs.job import AT_THE_API, RETRIABLE, Job, Status
from jobs.lifecycle.change import CONFLICT, Change, Moment, finish, park


def collected(job: Job, event: events.Collected, moment: Moment) -> Change | None:
    if job.status is not Status.COLLECTING or job.current != event.attempt:
        return None
    change = finish(job, Status.SUCCEEDED, moment, None, event.picture.digest, picture=event.picture)
    return _carried_on(change, job.request.then, moment)


def seed_told(job: Job, event: events.SeedTold) -> Change | None:
    attempt = job.find_attempt(event.attempt)
    if job.status is not Status.SUCCEEDED or attempt is None or attempt.seed == event.seed:
        return None
    return Change(job.with_attempt(attempt.but(seed=event.seed)), event.seed)


def reuse(job: Job, event: events.Reuse, moment: Moment) -> Change | None:
    if job.status is not Status.WAITING or job.claims or job.follows or job.request.then:
        return None
    detail = f"has the picture of {event.source}; nothing is paid"
    return finish(job, Status.SUCCEEDED, moment, None, detail, picture=event.picture, reused_from=event.source)


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


def conflict(job: Job, event: events.Conflict, moment: Moment) -> Change | None:
    attempt = job.attempt
    if job.status is Status.COLLECTING and attempt is not None:
        # What lies there is the other's as well: a person's retry does not fetch it once more, but blends anew.
        job = job.with_attempt(attempt.but(image_url=None))
    return park(job, moment, CONFLICT, f"{event.what} is also claimed by job {event.other}")


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
    if job.reused_from:  # the picture of another, which was doubted
        fresh |= {"reused_from": None, "picture": None}
    finished = [a for a in job.attempts if a.seen is TaskStatus.SUCCESS and a.image_url and not a.gone]
    if finished:  # already paid for and finished there: only the picture is missing
        done = job.attempt if job.attempt in finished else finished[0]
        changed = job.with_attempt(done.but(seen_at=moment.now), status=Status.COLLECTING, current=done.number, **fresh)
        # It stands in the list of those to fetch with this very step.
        return Change(changed.but(due_at=moment.later(moment.policy.lease_seconds)), "fetches the picture again")
    return Change(job.but(status=Status.WAITING, due_at=moment.now, **fresh), "a person's order")


def act(job: Job, event: events.Act, moment: Moment) -> Change | None:
    """Of a blend that has not succeeded yet it is kept what is wanted, and its success creates the follow-ups."""
    if not job.is_grid:
        return None
    if job.status is Status.SUCCEEDED:
        change = _carried_on(Change(job), event.actions, moment, again=event.again)
        return change if change.follow_ups else None
    then = tuple(dict.fromkeys((*job.request.then, *event.actions)))
    if event.again or then == job.request.then:
        return None
    return Change(job.but(request=job.request.model_copy(update={"then": then})), f"then {' '.join(then)}")


def _carried_on(change: Change, actions: Sequence[Action], moment: Moment, *, again: bool = False) -> Change:
    """The same change with those follow-ups that the job does not have yet."""
    job = change.job
    new = tuple(follow_ups(job, actions, moment.now, again=again))
    if not new:
        return change
    told = ", ".join(f"{one.follows.label} is {one.id}" for one in new if one.follows)
    grown = job.but(follow_ups=(*job.follow_ups, *(one.id for one in new)))
    return change._replace(job=grown, detail=f"{change.detail}; {told}".removeprefix("; "), follow_ups=new)
