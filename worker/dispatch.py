"""Dispatch: lets waiting jobs through, as many as the API has room for."""

from __future__ import annotations

from jobs.events import Release
from jobs.store import JobStore, NoSlot
from worker.context import Context

PAGE = 100


def dispatch(context: Context) -> int:
    """Release waiting jobs while a slot is free: strictly by priority, the oldest first.

    Returns:
        how many were released. Any number of dispatchers may run at once: each release is guarded by the store.
    """
    store = context.store
    store.gate.dispatch_begins()
    if store.gate.paused():
        return 0
    store.gate.ripen()
    released = 0
    while page := _release_page(context, store):
        released += page
    return released


def _release_page(context: Context, store: JobStore) -> int:
    slots = context.settings.slots
    released = 0
    for job_id in store.gate.ready(min(PAGE, slots - store.gate.slots_held())):
        try:
            applied = store.apply(job_id, Release(), slot_limit=slots)
        except NoSlot:
            break
        if applied.changed:
            context.wakeups.submit(job_id)
            released += 1
    return released
