"""Dispatch: lets waiting jobs through, as many as the APIs have room for."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta

from jobs.applying import Applied, BudgetSpent, NoSlot
from jobs.errors import EpochLost, StoreUnavailable
from jobs.events import Release
from jobs.job import Status
from jobs.questions import Question
from jobs.slots.circuit import Health
from jobs.slots.flow import room
from jobs.slots.gate import PUT_OFF_SECONDS
from jobs.slots.pins import Pin, Queue, Routing, Way, door_at
from jobs.slots.plan import Contender, Turn, next_in_turn
from worker.context import Context

PAGE = 100
# Looked at again with every tick, so a pause for one of our own reasons ends soon after its cause.
OWN_PAUSE_SECONDS = 15.0

_log = logging.getLogger(__name__)


def dispatch(context: Context) -> int:
    """Release waiting jobs while slots are free: strictly by priority, fair between campaigns, the oldest first.

    Returns:
        how many were released. Any number of dispatchers may run at once: each release is guarded by the store.
    """
    store, gate = context.store, context.store.gate
    epoch, (stopped, due), *standing = store.ask_all(
        context.epoch.question(), gate.dispatch_begins(), *_standing(context)
    )
    if (why := _reason_to_stop(context, epoch)) is not None:
        if gate.pause(*why, OWN_PAUSE_SECONDS):
            _log.error("submitting pauses for %.0f s: %s: %s", OWN_PAUSE_SECONDS, *why)
        return 0
    if stopped is not None:
        return 0
    if due:
        gate.ripen()
        standing = store.ask_all(*_standing(context))
    released = 0
    while True:
        page = _release(context, *standing)
        released += page
        if page < PAGE:  # there was no room for more, or there were no more
            return released
        standing = store.ask_all(*_standing(context))


def pause(context: Context, upstream: str, kind: str, message: str) -> None:
    """Give an upstream no jobs for a while, with one alarm in the log however often it is found."""
    seconds = context.settings.pause_seconds
    if context.store.circuit.pause(kind, message, seconds, upstream):
        _log.error("upstream=%s submitting pauses for %.0f s: %s: %s", upstream, seconds, kind, message)


def _standing(context: Context) -> tuple[Question[list[Queue]], Question[dict[str, Health]]]:
    """What `_release` goes by: the queues that have ready jobs, and how the APIs are."""
    store = context.store
    return store.turns.in_turn(), store.circuit.health([api.name for api in context.apis])


def _reason_to_stop(context: Context, epoch: str | None) -> tuple[str, str] | None:
    """What is wrong on our own side, as a kind and a message."""
    try:
        context.epoch.judge(epoch)
    except EpochLost as error:
        return "epoch", str(error)
    disk = shutil.disk_usage(context.settings.data_dir)
    if disk.free < disk.total * context.settings.min_free_disk_percent / 100:
        free = f"{disk.free / disk.total:.1%} of the disk of {context.settings.data_dir} is free"
        return "disk", f"{free}, too little to keep the pictures; make room, or lower min_free_disk_percent"
    return None


def _ways(context: Context, pins: Collection[str], health: Mapping[str, Health]) -> dict[str, Way]:
    """The doors as they stand: those of all jobs, and those of jobs that are pinned so."""
    store, apis = context.store, context.apis
    upstreams = {door: api for api in apis for pin in {"", *pins} if (door := door_at(Pin.parse(pin), api)) is not None}
    looked = store.throttle.look_at({door: api.slots for door, api in upstreams.items()})
    ways = {}
    for door, api in upstreams.items():
        flow, seen = looked[door]
        free = health[api.name].allows(room(flow, seen, store.policy, api.slots), seen.on_the_way)
        ways[door] = Way(api.weight, seen.held, free)
    return ways


def _release(context: Context, queues: Sequence[Queue], health: Mapping[str, Health]) -> int:
    """Release as many as there is room for, in one step; returns how many were."""
    store = context.store
    ways = _ways(context, {queue.pin for queue in queues}, health)
    routing = Routing(context.apis, ways)
    found = store.turns.contenders({queue: min(PAGE, routing.room(queue.pin)) for queue in queues})
    contenders = [one for one in found if not _pauses(context, one)]
    turns = next_in_turn(contenders, PAGE, routing.take)
    outcomes = store.apply_many(
        [(one.job_id, Release(one.door, ways[one.door].limit, one.campaign.plan.max_submissions)) for one in turns]
    )
    released = [one for one in outcomes if isinstance(one, Applied) and one.changed]
    for applied in released:
        context.released.keep(applied)
    if released:
        ids = [applied.after.id for applied in released]
        context.wakeups.submit(*ids)
        if len(contenders) > 1:
            store.turns.had({one.campaign.name: one.at for one in turns if one.job_id in ids})
    for turn, outcome in zip(turns, outcomes, strict=True):
        _put_off(context, turn, outcome)
    return len(released)


def _put_off(context: Context, turn: Turn, outcome: Applied | Exception) -> None:
    """A job that cannot go is looked at later: those behind it may."""
    store = context.store
    match outcome:
        case Applied(after=job) if job.status is not Status.WAITING:
            return  # it goes, or another dispatcher was faster
        case Applied(after=job):  # the server's clock was set back
            until = job.due_at or store.now()
        case NoSlot() | BudgetSpent():
            return  # slots, or a budget, that another dispatcher was faster to fill; other campaigns may go on
        case StoreUnavailable():
            raise outcome
        case error:
            _log.error("job=%s cannot be released (%s)", turn.job_id, type(error).__name__)
            until = store.now() + timedelta(seconds=PUT_OFF_SECONDS)
    store.gate.put_off(Queue(turn.campaign.name, turn.pin), turn.job_id, until)


def _pauses(context: Context, campaign: Contender) -> bool:
    """Whether a bound of the campaign's own plan stops it; told once."""
    why = campaign.plan.reason_to_pause(campaign.counts)
    if why is not None and context.store.turns.pause(campaign.name, *why):
        _log.warning("campaign=%s pauses: %s: %s", campaign.name, *why)
    return why is not None
