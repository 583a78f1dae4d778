"""Waking: who has something to do after a change. On its own, so that the receiver loads nothing of the worker's."""

from __future__ import annotations

from collections.abc import Iterable

from jobs.applying import Applied
from jobs.job import Status
from jobs.queue import Wakeups
from jobs.store import JobStore


def _lets_jobs_go(applied: Applied) -> bool:
    """Whether it freed a slot, waits for one, or has new follow-ups that do."""
    waits = applied.changed and applied.after.status is Status.WAITING
    return waits or applied.freed_slot or applied.after.follow_ups != applied.before.follow_ups


def wake_up(store: JobStore, wakeups: Wakeups, *applied: Applied) -> None:
    """Wake up whoever has something to do now. What gets lost here is found by the sweep."""
    if have_pictures(applied):
        wakeups.collect()
    if lets_jobs_go(applied) and store.gate.ask_dispatch():
        wakeups.dispatch()


def have_pictures(applied: Iterable[Applied]) -> bool:
    """Whether there are pictures to fetch now."""
    return any(one.to_fetch for one in applied)


def lets_jobs_go(applied: Iterable[Applied]) -> bool:
    """Whether dispatch has something to do now."""
    return any(map(_lets_jobs_go, applied))
