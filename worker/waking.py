"""Waking: who has something to do after a change. On its own, so that the receiver loads nothing of the worker's."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.applying import Applied
from jobs.job import Job, Status
from jobs.queue import Wakeups
from jobs.store import JobStore


def _has_a_picture(applied: Applied) -> bool:
    """Whether there is a link to fetch it by that was not known before: an answer that comes late is no reason."""
    before, after = applied.before, applied.after
    if after.status is not Status.COLLECTING:
        return False
    return before.status is not Status.COLLECTING or _link(before) != _link(after)


def _link(job: Job) -> str | None:
    return job.attempt.image_url if job.attempt else None


def _lets_jobs_go(applied: Applied) -> bool:
    """Whether it freed a slot, waits for one, or has new follow-ups that do."""
    waits = applied.changed and applied.after.status is Status.WAITING
    return waits or applied.freed_slot or applied.after.follow_ups != applied.before.follow_ups


def wake_up(store: JobStore, wakeups: Wakeups, *applied: Applied) -> None:
    """Wake up whoever has something to do now. What gets lost here is found by the sweep."""
    if finished := with_pictures(applied):
        wakeups.collect(*finished)
    if lets_jobs_go(applied) and store.gate.ask_dispatch():
        wakeups.dispatch()


def with_pictures(applied: Iterable[Applied]) -> list[str]:
    """The jobs whose pictures are to be fetched now."""
    return [one.after.id for one in applied if _has_a_picture(one)]


def lets_jobs_go(applied: Iterable[Applied]) -> bool:
    """Whether dispatch has something to do now."""
    return any(map(_lets_jobs_go, applied))
