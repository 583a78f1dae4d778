"""Throttle: how many jobs may be at each door at once, as `flow` finds it; kept in Redis, for any number of workers.

It reads in one round trip what the records' own writes keep up to date: nothing is counted twice, and nothing leaks.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from jobs.doors import DEFAULT, upstream_of
from jobs.events import AnswerKind
from jobs.job import Status
from jobs.keys import Keys
from jobs.policy import Policy
from jobs.server import lua, server_time, to_bytes, to_text, to_time, unavailable
from jobs.slots.flow import look
from jobs.slots.found import Flow, Reading

PERIOD_SECONDS = 300
HOUR_PERIODS = 12
_ON_THE_WAY = (Status.RELEASED, Status.SUBMITTING, Status.COMMITTED)
_TAKEN = (AnswerKind.ACCEPTED, AnswerKind.QUEUED)


def period(moment: datetime) -> int:
    """The number of the period in which answers of this moment are counted."""
    return int(moment.timestamp()) // PERIOD_SECONDS


@dataclass(frozen=True)
class Move:
    """One change of the flow: the slots before and after, what was seen then, and why."""

    at: datetime
    before: int
    after: int
    held: int
    working: int
    waiting: int
    trouble: int
    why: str

    @classmethod
    def of(cls, before: Flow, after: Flow, seen: Reading) -> Move | None:
        """None when there is nothing to tell."""
        if before.slots == after.slots and bool(before.trouble) == bool(after.trouble):
            return None
        why = after.why
        if bool(before.trouble) != bool(after.trouble):
            why = "the API turns jobs away: one at a time" if after.trouble else "the API takes jobs again"
        counts = (seen.held, seen.working, seen.waiting)
        return cls(seen.now, before.slots, after.slots, *counts, after.trouble, why)

    def to_json(self) -> str:
        return json.dumps(vars(self) | {"at": self.at.isoformat()})

    @classmethod
    def from_json(cls, doc: bytes) -> Move:
        fields = json.loads(doc)
        return cls(**fields | {"at": datetime.fromisoformat(fields["at"])})


class Throttle:
    """
    Args:
        client: from `server.connect`.
        keys: the same as the store's.
        policy: what the flow is decided by.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys, policy: Policy) -> None:
        self._redis = client
        self._keys = keys
        self._policy = policy
        self._move_script = client.register_script(lua("move"))

    def read(self, door: str = DEFAULT, limit: int | None = None) -> tuple[Flow, Reading]:
        """What was found so far, and how things stand.

        Args:
            door: its name.
            limit: a number of slots that was set for its upstream.
        """
        flow, seen, _ = self._read({door: limit})[door]
        return flow, seen

    def look_at(self, limits: Mapping[str, int | None]) -> dict[str, tuple[Flow, Reading]]:
        """As `read`, of several doors in one round trip; and what is found by it is kept.

        Args:
            limits: for each door a number of slots that was set; None: it is to be found.
        """
        found = self._read(limits)
        return {door: self._kept(door, *found[door], limit) for door, limit in limits.items()}

    def used_doors(self) -> set[str]:
        """The doors by which jobs ever went, whether the settings know them or not."""
        with unavailable():
            names: Any = self._redis.hkeys(self._keys.counts)
        return {DEFAULT, *(door for name in names if (door := to_text(name).rpartition(":")[0]))}

    def slots_held(self) -> int:
        """At all doors together."""
        with unavailable():
            doors = self.used_doors()
            pipeline = self._redis.pipeline(transaction=False)
            for door in doors:
                pipeline.scard(self._keys.door(door).slots)
            return int(sum(pipeline.execute()))

    def _kept(self, door: str, before: Flow, seen: Reading, doc: str, limit: int | None) -> tuple[Flow, Reading]:
        after = look(before, seen, self._policy, limit)
        if after is before:
            return before, seen
        move = Move.of(before, after, seen)
        args = [doc, after.model_dump_json(exclude_defaults=True), move.to_json() if move else ""]
        with unavailable():
            keys = self._keys.door(door)
            ours: Any = self._move_script(keys=[keys.flow, keys.flow_moves], args=args)
        return (after if ours else before), seen

    def moves(self, door: str = DEFAULT, count: int = 100) -> list[Move]:
        """The last changes, the newest first."""
        with unavailable():
            lines: Any = self._redis.lrange(self._keys.door(door).flow_moves, 0, count - 1)
        return [Move.from_json(line) for line in lines]

    def may_ask_for_cores(self, again_after_seconds: float, upstream: str = DEFAULT) -> bool:
        """Whether an API's account data should be asked for now; nobody else is told so for a while."""
        key = self._keys.door(upstream).cores_asked
        with unavailable():
            asked = self._redis.set(key, 1, nx=True, px=int(again_after_seconds * 1000))
        return bool(asked)

    def ask_for_cores_later(self, seconds: float, upstream: str = DEFAULT) -> None:
        """The API does not tell; ask again only after so long."""
        with unavailable():
            self._redis.set(self._keys.door(upstream).cores_asked, 1, px=int(seconds * 1000))

    def note_cores(self, cores: int, valid_seconds: float, upstream: str = DEFAULT) -> None:
        """What the account data say. A hint that skips the ramp; nothing is ever stopped by it."""
        with unavailable():
            self._redis.set(self._keys.door(upstream).cores, cores, px=int(valid_seconds * 1000))

    def answers_of_last_hour(self, door: str = DEFAULT) -> dict[str, int]:
        """How many answers to submissions there were, by kind, in the last 60 to 65 minutes."""
        newest = period(server_time(self._redis))
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for number in range(newest - HOUR_PERIODS, newest + 1):
                pipeline.hgetall(self._keys.answers_in(number))
            found: list[Any] = pipeline.execute()
        total: Counter[str] = Counter()
        for one in found:
            total.update(_at_doors(one)[door])
        return dict(total)

    def _read(self, doors: Mapping[str, int | None]) -> dict[str, tuple[Flow, Reading, str]]:
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.time()
            pipeline.hgetall(self._keys.counts)
            pipeline.hgetall(self._keys.answers)
            for keys in map(self._keys.door, doors):
                pipeline.scard(keys.slots)
                pipeline.get(keys.flow)
                pipeline.get(keys.cores)
            time, counted, answered, *each = pipeline.execute()
        counts, answers = _at_doors(counted), _at_doors(answered)
        for others in [here for door, here in counts.items() if door != DEFAULT]:
            counts[DEFAULT].subtract(others)  # the plain ones are of all doors
        elsewhere = self._held_elsewhere(doors, counts)
        now = to_time(*time)
        return {
            door: (
                Flow() if doc is None else Flow.model_validate_json(to_bytes(doc)),
                _reading(
                    now, int(held), elsewhere[door], counts[door], answers[door], None if cores is None else int(cores)
                ),
                "" if doc is None else to_text(doc),
            )
            for door, held, doc, cores in zip(doors, each[::3], each[1::3], each[2::3], strict=True)
        }

    def _held_elsewhere(self, doors: Mapping[str, int | None], used: Collection[str]) -> Counter[str]:
        """For doors with a number of slots that was set, what is held at the others of the same upstream."""
        others = [one for one in used if one not in doors and doors.get(upstream_of(one)) is not None]
        held: Counter[str] = Counter()
        if others:
            with unavailable():
                pipeline = self._redis.pipeline(transaction=False)
                for door in others:
                    pipeline.scard(self._keys.door(door).slots)
                for door, count in zip(others, pipeline.execute(), strict=True):
                    held[upstream_of(door)] += int(count)
        return held


def _reading(
    now: datetime, held: int, elsewhere: int, counts: Counter[str], answers: Counter[str], cores: int | None
) -> Reading:
    return Reading(
        now=now,
        held=held,
        elsewhere=elsewhere,
        on_the_way=sum(counts[status] for status in _ON_THE_WAY),
        unsure=counts[Status.UNSURE],
        working=counts["working"],
        waiting=counts["waiting_there"],
        taken=sum(answers[kind] for kind in _TAKEN),
        refused=answers[AnswerKind.NO_ROOM],
        unsent=answers[AnswerKind.NOT_SENT],
        cores=cores,
    )


def _at_doors(found: Mapping[Any, Any]) -> defaultdict[str, Counter[str]]:
    """Counts by door; what has no door in its name is the default one's."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for raw, count in found.items():
        door, _, name = to_text(raw).rpartition(":")
        counts[door or DEFAULT][name] = int(count)
    return counts
