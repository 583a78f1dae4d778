"""Pins: what a job asks of the API that takes it, and by which door it goes to each. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jobs.job import Job
from jobs.request import Mode
from jobs.upstreams import Upstream


class Pin(NamedTuple):
    """Empty where any will do. `upstream`: this one; `modes`: an account in one of them, of which a newer version may
    know more; `instance`: this account.

    As text it is part of a key's name, and empty where the pin is.
    """

    upstream: str = ""
    modes: tuple[str, ...] = ()
    instance: str = ""

    def __str__(self) -> str:
        return f"{self.upstream}|{','.join(self.modes)}|{self.instance}" if any(self) else ""

    @property
    def words(self) -> str:
        """For people."""
        asked = (
            self.upstream and f"upstream {self.upstream}",
            self.modes and f"mode {' or '.join(self.modes)}",
            self.instance and f"account {self.instance}",
        )
        return ", ".join(one for one in asked if one)

    @classmethod
    def parse(cls, text: str) -> Pin:
        if not text:
            return cls()
        upstream, modes, instance = text.split("|", 2)
        return cls(upstream, tuple(one for one in modes.split(",") if one), instance)


ANY = Pin()


def pin_of(job: Job) -> Pin:
    """A follow-up goes where its parent's task is; it asks for no account, since the task has one."""
    if job.follows:
        return Pin(upstream=job.follows.upstream)
    request = job.request
    if not (request.modes or request.instance_id or request.upstream):
        return ANY
    modes = tuple(mode for mode in Mode if mode in request.modes)
    return Pin(request.upstream or "", modes if len(modes) < len(Mode) else (), request.instance_id or "")


def door_at(pin: Pin, upstream: Upstream) -> str | None:
    """The door by which jobs of this pin go to an upstream; None where they may not.

    Jobs that only some of its accounts may take have a door of their own: their slots say nothing about the others'.
    Where the number of slots is set there is one door, since the number is that of the whole upstream.
    """
    served = upstream.modes or tuple(Mode)
    modes = [mode for mode in pin.modes if mode in served]
    if pin.upstream not in ("", upstream.name) or (pin.modes and not modes):
        return None
    if pin.instance and upstream.instances and pin.instance not in upstream.instances:
        return None
    if upstream.slots is None and pin.instance and len(upstream.instances) > 1:
        return f"{upstream.name}/{pin.instance}"
    if upstream.slots is None and pin.modes and len(modes) < len(set(served)):
        return f"{upstream.name}/{','.join(modes)}"
    return upstream.name


def doors_for(pin: Pin, upstreams: Iterable[Upstream]) -> list[str]:
    """The doors by which jobs of this pin may go. An account that some upstreams name is not looked for elsewhere."""
    found = [(one, door) for one in upstreams if (door := door_at(pin, one)) is not None]
    named = [door for one, door in found if pin.instance in one.instances]
    return named or [door for _, door in found]


class Queue(NamedTuple):
    """The ready jobs of one campaign that have the same pin, as text. Queues of one campaign take turns by rank."""

    campaign: str
    pin: str = ""

    def __str__(self) -> str:
        return f"{self.campaign}:{self.pin}" if self.pin else self.campaign

    @classmethod
    def parse(cls, text: str) -> Queue:
        campaign, _, pin = text.partition(":")
        return cls(campaign, pin)

    @classmethod
    def of(cls, job: Job) -> Queue:
        pin = pin_of(job)
        return cls(job.campaign) if pin is ANY else cls(job.campaign, str(pin))


class Way(NamedTuple):
    """A door as it stands: how many slots are held there, and how many jobs may go now."""

    weight: float
    held: int
    free: int

    @property
    def limit(self) -> int:
        return self.held + self.free


class Routing:
    """Sends jobs to doors, one after the other, as long as there is room.

    Args:
        upstreams: those of the settings.
        ways: their doors as they stand.
    """

    def __init__(self, upstreams: Sequence[Upstream], ways: dict[str, Way]) -> None:
        self._upstreams = upstreams
        self._ways = dict(ways)
        self._doors: dict[str, list[str]] = {}

    def room(self, pin: str) -> int:
        """How many jobs of this pin may go."""
        return sum(self._ways[door].free for door in self._doors_for(pin))

    def take(self, pin: str) -> str | None:
        """The door for the next job of this pin: of those with room the one that holds the fewest slots for its weight;
        the first in the settings of several. None when there is no room.
        """
        open_doors = [door for door in self._doors_for(pin) if self._ways[door].free > 0]
        if not open_doors:
            return None
        door = min(open_doors, key=lambda one: self._ways[one].held / self._ways[one].weight)
        weight, held, free = self._ways[door]
        self._ways[door] = Way(weight, held + 1, free - 1)
        return door

    def _doors_for(self, pin: str) -> list[str]:
        if pin not in self._doors:
            self._doors[pin] = [one for one in doors_for(Pin.parse(pin), self._upstreams) if one in self._ways]
        return self._doors[pin]
