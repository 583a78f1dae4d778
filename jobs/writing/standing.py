"""Standing: the sets in which a job stands, by its status; what a change takes it out of, and puts it into."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from jobs.doors import DEFAULT
from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.server import to_ms
from jobs.slots.gate import rank
from jobs.slots.pins import Queue


def moved(keys: Keys, before: Job, after: Job, now: datetime) -> tuple[list[str], dict[str, Any]]:
    """The keys of the sets that a change of a job is about, in the order in which `lua/save.lua` takes them, and what
    it is told of them.
    """
    slots, told = _slot(keys, before, after)
    place = _place(keys, after, now)
    stood = keys.places(before.status, before.campaign, _pin(before))
    if place is None:
        return [*slots, *stood], told
    told["score"] = place.score
    if place.contender is not None:
        told["contender"] = place.contender
    return [*slots, *(one for one in stood if one != place.key), place.key], told


def _slot(keys: Keys, before: Job, after: Job) -> tuple[list[str], dict[str, Any]]:
    """What becomes of its slot: nothing where it holds the one that it held, or none as before. With the sets of the
    door that it leaves and of the one where it holds one, unless both are the default one.
    """
    left, held = _held_at(before), _held_at(after)
    if left == held:
        return [], {}
    told = {"slot": "hold" if held else "free"}
    doors = [left or held or DEFAULT, held or left or DEFAULT]
    return ([], told) if doors == [DEFAULT, DEFAULT] else ([keys.door(one).slots for one in doors], told | {"slots": 2})


def _held_at(job: Job) -> str | None:
    return job.door if job.status.holds_slot else None


def _pin(job: Job) -> str:
    """What says in which queue a job waits; nothing for one that does not wait."""
    return Queue.of(job).pin if job.status is Status.WAITING else ""


class _Place(NamedTuple):
    """The zset in which a job stands, its score there, and the queue that it makes a contender."""

    key: str
    score: int
    contender: str | None = None


def _place(keys: Keys, job: Job, now: datetime) -> _Place | None:
    if job.status in (Status.FAILED, Status.PARKED):
        return _Place(keys.campaign_failures(job.campaign), to_ms(job.finished_at or now))
    if job.due_at is None:
        return None
    if job.status is not Status.WAITING:
        return _Place(keys.at(job.status), to_ms(job.due_at))
    if job.due_at > now:
        return _Place(keys.later, to_ms(job.due_at))
    queue = Queue.of(job)
    return _Place(keys.ready(*queue), rank(job), str(queue))
