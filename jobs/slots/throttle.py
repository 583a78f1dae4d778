"""Throttle: how many jobs may be at the API at once, as `flow` finds it; kept in Redis, for any number of workers.

It reads in one round trip what the records' own writes keep up to date: nothing is counted twice, and nothing leaks.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from jobs.events import AnswerKind
from jobs.job import Status
from jobs.keys import Keys
from jobs.policy import Policy
from jobs.server import lua, server_time, to_bytes, to_text, to_time, unavailable
from jobs.slots.flow import Flow, Reading, look

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

    def read(self) -> tuple[Flow, Reading]:
        """What was found so far, and how things stand."""
        flow, seen, _ = self._read()
        return flow, seen

    def look(self, limit: int | None = None) -> tuple[Flow, Reading]:
        """As `read`; and what is found by it is kept.

        Args:
            limit: a number of slots that was set; None: it is to be found.
        """
        before, seen, doc = self._read()
        after = look(before, seen, self._policy, limit)
        if after is before:
            return before, seen
        move = Move.of(before, after, seen)
        args = [doc, after.model_dump_json(exclude_defaults=True), move.to_json() if move else ""]
        with unavailable():
            ours: Any = self._move_script(keys=[self._keys.flow, self._keys.flow_moves], args=args)
        return (after if ours else before), seen

    def moves(self, count: int = 100) -> list[Move]:
        """The last changes, the newest first."""
        with unavailable():
            lines: Any = self._redis.lrange(self._keys.flow_moves, 0, count - 1)
        return [Move.from_json(line) for line in lines]

    def may_ask_for_cores(self, again_after_seconds: float) -> bool:
        """Whether the API's account data should be asked for now; nobody else is told so for a while."""
        with unavailable():
            asked = self._redis.set(self._keys.cores_asked, 1, nx=True, px=int(again_after_seconds * 1000))
        return bool(asked)

    def ask_for_cores_later(self, seconds: float) -> None:
        """The API does not tell; ask again only after so long."""
        with unavailable():
            self._redis.set(self._keys.cores_asked, 1, px=int(seconds * 1000))

    def note_cores(self, cores: int, valid_seconds: float) -> None:
        """What the account data say. A hint that skips the ramp; nothing is ever stopped by it."""
        with unavailable():
            self._redis.set(self._keys.cores, cores, px=int(valid_seconds * 1000))

    def answers_of_last_hour(self) -> dict[str, int]:
        """How many answers to submissions there were, by kind, in the last 60 to 65 minutes."""
        newest = period(server_time(self._redis))
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for number in range(newest - HOUR_PERIODS, newest + 1):
                pipeline.hgetall(self._keys.answers_in(number))
            found: list[Any] = pipeline.execute()
        total: Counter[str] = Counter()
        for one in found:
            total.update(_numbers(one))
        return dict(total)

    def _read(self) -> tuple[Flow, Reading, str]:
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.time()
            pipeline.scard(self._keys.slots)
            pipeline.hgetall(self._keys.counts)
            pipeline.hgetall(self._keys.answers)
            pipeline.get(self._keys.flow)
            pipeline.get(self._keys.cores)
            time, held, counted, answered, doc, cores = pipeline.execute()
        counts, answers = _numbers(counted), _numbers(answered)
        seen = Reading(
            now=to_time(*time),
            held=int(held),
            on_the_way=sum(counts[status] for status in _ON_THE_WAY),
            unsure=counts[Status.UNSURE],
            working=counts["working"],
            waiting=counts["waiting_there"],
            taken=sum(answers[kind] for kind in _TAKEN),
            refused=answers[AnswerKind.NO_ROOM],
            unsent=answers[AnswerKind.NOT_SENT],
            cores=None if cores is None else int(cores),
        )
        flow = Flow() if doc is None else Flow.model_validate_json(to_bytes(doc))
        return flow, seen, "" if doc is None else to_text(doc)


def _numbers(found: Mapping[Any, Any]) -> Counter[str]:
    return Counter({to_text(name): int(count) for name, count in found.items()})
