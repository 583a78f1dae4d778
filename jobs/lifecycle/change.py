"""Moment and Change: what a decision depends on, and what it comes to; and the ways in which a job ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from jobs.job import Job, Reason, Status
from jobs.policy import Policy

CONFLICT = "conflict"  # the one reason that no news from the API can lift: the news may be another job's


class Moment(NamedTuple):
    """What a decision may depend on beside the job and the event."""

    now: datetime
    chance: float
    policy: Policy

    def later(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)


class Change(NamedTuple):
    """The job as it is to be written, a line for its history, and the follow-ups to be created in the same step."""

    job: Job
    detail: str = ""
    follow_ups: tuple[Job, ...] = ()


def finish(job: Job, status: Status, moment: Moment, reason: Reason | None, detail: str, **changes: object) -> Change:
    ended = job.but(status=status, reason=reason, due_at=None, finished_at=moment.now, **changes)
    return Change(ended, detail)


def fail(job: Job, moment: Moment, kind: str, message: str) -> Change:
    return finish(job, Status.FAILED, moment, Reason(kind=kind, message=message), f"{kind}: {message}")


def park(job: Job, moment: Moment, kind: str, message: str) -> Change | None:
    if job.status is Status.PARKED and (kind != CONFLICT or in_conflict(job)):
        return None
    return finish(job, Status.PARKED, moment, Reason(kind=kind, message=message), f"{kind}: {message}")


def in_conflict(job: Job) -> bool:
    return job.reason is not None and job.reason.kind == CONFLICT
