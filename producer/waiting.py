"""Why a job waits: for its time, for a person, or for room at one of the doors by which it may go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jobs.doors import upstream_of
from jobs.job import Job, Status
from jobs.report import rfc3339
from jobs.settings import Settings
from jobs.slots.flow import room
from jobs.slots.pause import Pause
from jobs.slots.pins import ANY, Pin, doors_for, pin_of
from jobs.store import JobStore
from jobs.upstreams import Upstream


@dataclass(frozen=True)
class Room:
    """A door by which the job may go: how many slots there are, how many are held, and how many jobs may go now."""

    door: str
    slots: int
    held: int
    free: int
    pause: Pause | None

    @property
    def words(self) -> str:
        if self.pause:
            return f"{self.door} (paused: {self.pause.message})"
        return f"{self.door} ({self.held} of {self.slots} slots in use, room for {self.free} more)"

    def to_json(self) -> dict[str, Any]:
        shown = {"name": self.door, "slots": self.slots, "in_use": self.held, "room": self.free}
        return shown | {"paused": self.pause and self.pause.message}


@dataclass(frozen=True)
class Waiting:
    """What keeps a job; `until`, `stopped` (all submitting) and `paused` (its campaign) where that is so.

    `known` is false where the settings name no API: it is the workers that need to know.
    """

    campaign: str
    pin: Pin
    known: bool
    until: datetime | None = None
    stopped: Pause | None = None
    paused: Pause | None = None
    rooms: list[Room] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """For people, what is most in the way first."""
        if self.until:
            yield f"until {rfc3339(self.until)}, when it is tried again"
        if self.stopped:
            yield f"since submitting is paused ({self.stopped.kind}): {self.stopped.message}"
        if self.paused:
            yield f"since its campaign is paused ({self.paused.kind}): {self.paused.message}"
        if self.known and not self.rooms:
            yield f"for {self.pin.words}, and no API in BLENDQ_UPSTREAMS will do: name one that does, or cancel it"
        elif self.rooms or self.pin != ANY:
            places = " or ".join(one.words for one in self.rooms) or "an API that the workers know"
            yield f"for its turn at {places}" + (f", since it asks for {self.pin.words}" if self.pin != ANY else "")

    def to_json(self) -> dict[str, Any]:
        return {
            "until": rfc3339(self.until),
            "asks_for": {"upstream": self.pin.upstream, "modes": list(self.pin.modes), "instance": self.pin.instance},
            "doors": [one.to_json() for one in self.rooms] if self.known else None,
            "why": list(self.lines()),
        }


def why_waiting(store: JobStore, settings: Settings, job: Job) -> Waiting | None:
    """None where it does not wait to be submitted.

    Raises:
        StoreUnavailable: Redis does not answer in time.
    """
    if job.status is not Status.WAITING:
        return None
    pin = pin_of(job)
    return Waiting(
        job.campaign,
        pin,
        known=bool(settings.apis),
        until=job.due_at if job.due_at and job.due_at > store.now() else None,
        stopped=store.gate.paused(),
        paused=store.turns.paused(job.campaign),
        rooms=_rooms(store, settings.apis, pin),
    )


def _rooms(store: JobStore, upstreams: Sequence[Upstream], pin: Pin) -> list[Room]:
    named = {one.name: one for one in upstreams}
    health = store.circuit.read(list(named))
    rooms = []
    for door in doors_for(pin, upstreams):
        upstream = named[upstream_of(door)]
        flow, seen = store.throttle.read(door, upstream.slots)
        free = health[upstream.name].allows(room(flow, seen, store.policy, upstream.slots), seen.on_the_way)
        rooms.append(
            Room(door, upstream.slots or flow.slots, seen.held + seen.elsewhere, free, health[upstream.name].pause)
        )
    return rooms
