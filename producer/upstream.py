"""What is told of the APIs: their slots, what is in them, how they answered, and why the slots last changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from jobs.doors import DEFAULT, upstream_of
from jobs.events import AnswerKind
from jobs.report import rfc3339, shown_link
from jobs.settings import Settings
from jobs.slots.found import Flow, Reading
from jobs.slots.pause import Pause
from jobs.slots.throttle import Move
from jobs.store import JobStore
from jobs.upstreams import Upstream

# As people know them; what was never sent is no answer.
CODES = {AnswerKind.ACCEPTED.value: "1", AnswerKind.QUEUED.value: "22", AnswerKind.NO_ROOM.value: "23"}
_NO_ANSWERS = frozenset({AnswerKind.NOT_SENT.value, AnswerKind.GIVEN_UP.value})


@dataclass(frozen=True)
class DoorReport:
    """One door. `limit` is the number of slots that was set, if one was; `answers`, those of the last hour, by kind."""

    name: str
    limit: int | None
    flow: Flow
    seen: Reading
    answers: Mapping[str, int]
    moves: list[Move] = field(repr=False)

    @classmethod
    def of(cls, store: JobStore, name: str, limit: int | None) -> DoorReport:
        flow, seen = store.throttle.read(name)
        return cls(name, limit, flow, seen, store.throttle.answers_of_last_hour(name), store.throttle.moves(name))

    @property
    def slots(self) -> int:
        return self.flow.slots if self.limit is None else self.limit

    @property
    def shares(self) -> dict[str, float]:
        """Of the last hour's answers; what is no 1, 22 or 23 is `other`."""
        answers = {kind: count for kind, count in self.answers.items() if kind not in _NO_ANSWERS}
        total = sum(answers.values())
        if not total:
            return {}
        shares = {code: answers.get(kind, 0) / total for kind, code in CODES.items()}
        return {**shares, "other": max(0.0, 1 - sum(shares.values()))}

    def to_json(self) -> dict[str, Any]:
        return {
            "slots": self.slots,
            "slots_set": self.limit is not None,
            "in_use": self.seen.held,
            "on_the_way": self.seen.on_the_way,
            "working": self.seen.working,
            "waiting": self.seen.waiting,
            "unsure": self.seen.unsure,
            "answers_last_hour": dict(self.answers),
            "shares_last_hour": {code: round(share, 4) for code, share in self.shares.items()},
            "one_at_a_time": bool(self.flow.trouble),
            "moved_at": rfc3339(self.flow.moved_at),
            "why": self.flow.why if self.limit is None else "the number of slots is set",
        }


@dataclass(frozen=True)
class UpstreamReport:
    """One upstream. Jobs that only some of its accounts may take have doors of their own beside the first one.

    `settings` is None where they do not name it, though jobs went there; `stray`: it has some of ours still, so nobody
    can ask about them.
    """

    name: str
    settings: Upstream | None
    pause: Pause | None
    stray: bool
    door: DoorReport
    others: list[DoorReport] = field(repr=False)

    STRAY_ADVICE: ClassVar[str] = "name it again in BLENDQ_UPSTREAMS, with its url and key, until they are done"

    @property
    def stray_words(self) -> str:
        """What is wrong where it is `stray`; `STRAY_ADVICE` says what to do."""
        held = sum(one.seen.held for one in (self.door, *self.others))
        jobs = "1 job of ours is" if held == 1 else f"{held} jobs of ours are"
        return f"{jobs} under way at {self.name}, which is not in the settings, so nobody asks about them"

    def to_json(self) -> dict[str, Any]:
        known = self.settings
        return {
            "name": self.name,
            "url": known and shown_link(known.url),
            "weight": known and known.weight,
            "modes": known and list(known.modes),
            "instances": known and list(known.instances),
            "in_settings": known is not None,
            **self.door.to_json(),
            "paused": self.pause and {"kind": self.pause.kind, "message": self.pause.message},
            "pinned": [{"name": one.name} | one.to_json() for one in self.others],
        }


def reports(store: JobStore, settings: Settings) -> list[UpstreamReport]:
    """Every upstream: those of the settings, in their order; then those that have jobs still. Where the settings name
    none (it is the workers that need to know), all that jobs ever went to.

    Raises:
        StoreUnavailable: Redis does not answer in time.
    """
    named = {one.name: one for one in settings.apis}
    names, doors = upstream_names(store, settings), sorted(store.throttle.used_doors())
    pauses = store.circuit.read(names)
    found = []
    for name in names:
        limit = named[name].slots if name in named else settings.slots if name == DEFAULT else None
        pinned = [door for door in doors if door != name and upstream_of(door) == name]
        others = [DoorReport.of(store, door, None) for door in pinned]
        door = DoorReport.of(store, name, limit)
        stray = bool(named) and name not in named and sum(one.seen.held for one in (door, *others)) > 0
        found.append(UpstreamReport(name, named.get(name), pauses[name].pause, stray, door, others))
    return [one for one in found if one.settings or one.stray or not named]


def upstream_names(store: JobStore, settings: Settings) -> list[str]:
    """Of those that the settings name, and those that jobs ever went to."""
    used = sorted(upstream_of(door) for door in store.throttle.used_doors())
    return list(dict.fromkeys([*(one.name for one in settings.apis), *used]))


def why_nothing_goes(store: JobStore, settings: Settings) -> Pause | None:
    """Why nothing at all is submitted: for a reason on our own side, or since every upstream is paused."""
    if (own := store.gate.paused()) is not None:
        return own
    names = [one.name for one in settings.apis] or [DEFAULT]
    pauses = [one.pause for one in store.circuit.read(names).values()]
    return pauses[0] if all(pauses) else None


def resume(store: JobStore, names: Iterable[str]) -> None:
    """Submit again at once, to these upstreams; whatever was wrong on our own side."""
    store.gate.resume()
    for name in names:
        store.circuit.resume(name)


def move_json(move: Move) -> dict[str, Any]:
    return vars(move) | {"at": rfc3339(move.at)}
