"""Dispatch: lets waiting jobs through, as many as the API has room for."""

from __future__ import annotations

import logging
import shutil

from jobs.errors import EpochLost
from jobs.events import Release
from jobs.slots.flow import room
from jobs.slots.plan import Contender, next_in_turn
from jobs.store import Applied, BudgetSpent, NoSlot
from worker.context import Context

PAGE = 100
# Looked at again with every tick, so a pause for one of our own reasons ends soon after its cause.
OWN_PAUSE_SECONDS = 15.0

_log = logging.getLogger(__name__)


def dispatch(context: Context) -> int:
    """Release waiting jobs while a slot is free: strictly by priority, fair between campaigns, the oldest first.

    Returns:
        how many were released. Any number of dispatchers may run at once: each release is guarded by the store.
    """
    gate = context.store.gate
    gate.dispatch_begins()
    if (why := _reason_to_stop(context)) is not None:
        pause(context, *why, OWN_PAUSE_SECONDS)
    if gate.paused():
        return 0
    gate.ripen()
    released = 0
    while True:
        page = _release(context)
        released += page
        if page < PAGE:  # there was no room for more, or there were no more
            return released


def pause(context: Context, kind: str, message: str, seconds: float) -> None:
    """Stop submitting for a while, with one alarm in the log however often it is found."""
    if context.store.gate.pause(kind, message, seconds):
        _log.error("submitting pauses for %.0f s: %s: %s", seconds, kind, message)


def _reason_to_stop(context: Context) -> tuple[str, str] | None:
    """What is wrong on our own side, as a kind and a message."""
    try:
        context.epoch.verify()
    except EpochLost as error:
        return "epoch", str(error)
    disk = shutil.disk_usage(context.settings.data_dir)
    if disk.free < disk.total * context.settings.min_free_disk_percent / 100:
        free = f"{disk.free / disk.total:.1%} of the disk of {context.settings.data_dir} is free"
        return "disk", f"{free}, too little to keep the pictures; make room, or lower min_free_disk_percent"
    return None


def _room(context: Context) -> tuple[int, int]:
    """How many jobs may go now, and how many may hold a slot then."""
    limit, store = context.settings.slots, context.store
    flow, seen = store.throttle.look(limit)
    free = room(flow, seen, store.policy, limit)
    # After a refusal that only a person can mend, one job goes ahead: a thousand would all be refused alike.
    if free > 0 and store.gate.suspect():
        free = min(free, 1 - seen.on_the_way)
    return free, seen.held + free


def _release(context: Context) -> int:
    """Release as many as there is room for, in one step; returns how many were."""
    store = context.store
    free, slots = _room(context)
    contenders = [one for one in store.turns.contenders(min(PAGE, free)) if not _pauses(context, one)]
    turns = next_in_turn(contenders, min(PAGE, free))
    outcomes = store.apply_many([(job_id, Release(slots, one.plan.max_submissions)) for job_id, one in turns])
    if released := [one.after.id for one in outcomes if isinstance(one, Applied) and one.changed]:
        context.wakeups.submit(*released)
    for one in outcomes:
        # Slots, or a budget, that another dispatcher was faster to fill; other campaigns may go on.
        if isinstance(one, Exception) and not isinstance(one, NoSlot | BudgetSpent):
            raise one
    return len(released)


def _pauses(context: Context, campaign: Contender) -> bool:
    """Whether a bound of the campaign's own plan stops it; told once."""
    why = campaign.plan.reason_to_pause(campaign.counts)
    if why is not None and context.store.turns.pause(campaign.name, *why):
        _log.warning("campaign=%s pauses: %s: %s", campaign.name, *why)
    return why is not None
