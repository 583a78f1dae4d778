"""Circuit: whether an upstream is given jobs at all. One that refuses what only a person can mend is given none for a
while; then one job goes ahead of the others, since a thousand would all be refused alike.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.client import Pipeline

from jobs.doors import DEFAULT
from jobs.keys import Keys
from jobs.questions import Question, ask
from jobs.server import server_time, to_bytes, unavailable
from jobs.slots.pause import Pause, keep_pause

# Where nothing was found to doubt since, that something was accepted is told no more often than this.
TRUSTED_SECONDS = 1.0


@dataclass(frozen=True)
class Health:
    """`suspect`: a pause has ended, and nothing was accepted since."""

    pause: Pause | None = None
    suspect: bool = False

    def allows(self, free: int, on_the_way: int) -> int:
        """How many jobs may go where there is room for `free`: none while paused, then one ahead of the others."""
        if self.pause:
            return 0
        return min(free, max(0, 1 - on_the_way)) if self.suspect else free


class Circuit:
    """Those of all upstreams.

    Args:
        client: from `server.connect`.
        keys: the same as the store's.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys
        self._trusted_at: dict[str, float] = {}

    def pause(self, kind: str, message: str, seconds: float, upstream: str = DEFAULT) -> bool:
        """Give it no jobs for a while: only a person can help, and every try would be refused alike.

        Returns:
            whether this is news, to be told once: False when it is paused already.
        """
        keys = self._keys.door(upstream)
        pause = Pause(kind, message, server_time(self._redis))
        self._trusted_at.pop(upstream, None)
        with unavailable():
            self._redis.set(keys.suspect, kind)
            return keep_pause(self._redis, keys.pause, pause, seconds)

    def read(self, upstreams: Collection[str]) -> dict[str, Health]:
        """How each of them is, in one round trip."""
        return ask(self._redis, self.health(upstreams))

    def health(self, upstreams: Collection[str]) -> Question[dict[str, Health]]:
        """What `read` asks."""

        def put(pipeline: Pipeline) -> None:
            for name in upstreams:
                pipeline.mget(self._keys.door(name).pause, self._keys.door(name).suspect)

        def meaning(answers: Sequence[Any]) -> dict[str, Health]:
            return {name: self._health(name, *kept) for name, kept in zip(upstreams, answers, strict=True)}

        return Question(put, meaning)

    def _health(self, upstream: str, pause: Any, suspect: Any) -> Health:
        if suspect is not None:
            self._trusted_at.pop(upstream, None)
        return Health(None if pause is None else Pause.from_json(to_bytes(pause)), suspect is not None)

    def resume(self, upstream: str = DEFAULT) -> None:
        """Give it jobs again at once, and without suspicion."""
        keys = self._keys.door(upstream)
        with unavailable():
            self._redis.delete(keys.pause, keys.suspect, keys.no_accounts)

    def trust(self, upstream: str = DEFAULT) -> None:
        """Something was accepted: whatever caused the last pause is mended."""
        now = time.monotonic()
        if now - self._trusted_at.get(upstream, -TRUSTED_SECONDS) < TRUSTED_SECONDS:
            return
        self._trusted_at[upstream] = now
        keys = self._keys.door(upstream)
        with unavailable():
            self._redis.delete(keys.suspect, keys.no_accounts)

    def count_no_account(self, upstream: str = DEFAULT) -> int:
        """It had no account for a job; returns how often in a row, with nothing accepted between."""
        self._trusted_at.pop(upstream, None)
        with unavailable():
            count: Any = self._redis.incr(self._keys.door(upstream).no_accounts)
        return int(count)
