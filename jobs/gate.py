"""Gate: which jobs go next, and how many at once.

The ready jobs in order, the slots that are held, the wake-up for dispatch, and the pause in which nothing goes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import redis

from jobs.job import Job, Status
from jobs.keys import Keys
from jobs.server import lua, server_time, to_bytes, to_ms, to_text, unavailable

# Ready jobs are ordered by priority, then by age. Both fit exactly into the 53 bits of a zset's score.
RANKS_A_PRIORITY = 10**13


def rank(job: Job) -> int:
    """The score of a ready job: the lowest goes first. Strict by priority, the oldest first within one."""
    return (9 - job.request.priority) * RANKS_A_PRIORITY + job.order


# Why submitting may be paused for a reason on our own side; the others are AnswerKinds.
OWN_REASONS = frozenset({"disk", "epoch"})


@dataclass(frozen=True)
class Pause:
    """Why submitting is stopped. `kind` is an AnswerKind's value, or one of OWN_REASONS."""

    kind: str
    message: str
    at: datetime


class Gate:
    """What dispatch goes by. The jobs themselves are changed by the store alone.

    Args:
        client: from `server.connect`.
        keys: the same as the store's.
        find_many: reads jobs by their ids; the store's.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys, find_many: Callable[[Sequence[str]], list[Job | None]]) -> None:
        self._redis = client
        self._find_many = find_many
        self._keys = keys
        self._ripen_script = client.register_script(lua("ripen"))

    def slots_held(self) -> int:
        with unavailable():
            held: Any = self._redis.scard(self._keys.slots)
        return int(held)

    def on_the_way(self) -> int:
        """How many jobs are between their release and the API's answer."""
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for status in (Status.RELEASED, Status.SUBMITTING, Status.COMMITTED):
                pipeline.zcard(self._keys.at(status))
            return int(sum(pipeline.execute()))

    def messages(self, queues: Sequence[str]) -> int:
        """How many wake-ups wait in these queues of the broker (its lists, by their full names)."""
        with unavailable():
            pipeline = self._redis.pipeline(transaction=False)
            for queue in queues:
                pipeline.llen(queue)
            return int(sum(pipeline.execute()))

    def ripen(self, page: int = 500) -> int:
        """Put the waiting jobs that have become due among the ready ones; returns how many."""
        moved = 0
        while True:
            now = to_ms(server_time(self._redis))
            with unavailable():
                found: Any = self._redis.zrangebyscore(self._keys.later, "-inf", now, 0, page)
            ids = [to_text(one) for one in found]
            args = [part for job in self._find_many(ids) if job for part in (job.id, rank(job))]
            if args:
                with unavailable():
                    moved += int(self._ripen_script(keys=[self._keys.later, self._keys.ready], args=args))
            if len(ids) < page:
                return moved

    def ready(self, count: int) -> list[str]:
        """The jobs that are to go next, in order."""
        with unavailable():
            ids: Any = self._redis.zrange(self._keys.ready, 0, count - 1) if count > 0 else []
        return [to_text(one) for one in ids]

    def ask_dispatch(self, hold_seconds: float = 1.0) -> bool:
        """Whether a wake-up for dispatch should be sent now; False when one is on its way already."""
        with unavailable():
            return bool(self._redis.set(self._keys.dispatch_asked, 1, nx=True, px=int(hold_seconds * 1000)))

    def dispatch_begins(self) -> None:
        """From here on a slot that becomes free needs a new wake-up."""
        with unavailable():
            self._redis.delete(self._keys.dispatch_asked)

    def pause(self, kind: str, message: str, seconds: float) -> bool:
        """Stop submitting for a while: only a person can help, and every try would be refused alike.

        Returns:
            whether this is news, to be told once: False when submitting is paused already.
        """
        doc = json.dumps({"kind": kind, "message": message, "at": server_time(self._redis).isoformat()})
        with unavailable():
            self._redis.set(self._keys.suspect, kind)
            news = bool(self._redis.set(self._keys.pause, doc, px=int(seconds * 1000), nx=True))
            if not news:
                self._redis.pexpire(self._keys.pause, int(seconds * 1000), gt=True)
        return news

    def paused(self) -> Pause | None:
        with unavailable():
            doc = self._redis.get(self._keys.pause)
        if doc is None:
            return None
        fields = json.loads(to_bytes(doc))
        return Pause(fields["kind"], fields["message"], datetime.fromisoformat(fields["at"]))

    def resume(self) -> None:
        """Submit again at once, and without suspicion."""
        with unavailable():
            self._redis.delete(self._keys.pause, self._keys.suspect, self._keys.no_accounts)

    def suspect(self) -> bool:
        """Whether a pause has ended and nothing was accepted since: then one job goes ahead, to try."""
        with unavailable():
            return bool(self._redis.exists(self._keys.suspect))

    def trust(self) -> None:
        """Something was accepted: whatever caused the last pause is mended."""
        with unavailable():
            self._redis.delete(self._keys.suspect, self._keys.no_accounts)

    def count_no_account(self) -> int:
        """The API had no account for a job; returns how often in a row, with nothing accepted between."""
        with unavailable():
            count: Any = self._redis.incr(self._keys.no_accounts)
        return int(count)
