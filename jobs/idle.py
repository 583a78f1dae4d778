"""Idle: which campaigns have been finished for long."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import redis

from jobs.job import Status
from jobs.keys import Keys
from jobs.server import server_time, to_ms, to_text, unavailable

_UNFINISHED = tuple(status.value for status in Status if not status.final)


class Idle:
    """Remembers since when each campaign has had no unfinished job, as far as anybody looked.

    Args:
        client: from `server.connect`.
        keys: the same as the store's.

    Every method raises StoreUnavailable when Redis does not answer in time.
    """

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._redis = client
        self._keys = keys

    def take_turn(self, hold_seconds: float) -> bool:
        """Whether it is for us to look; for nobody else within `hold_seconds`."""
        with unavailable():
            return bool(self._redis.set(self._keys.idle_looked_at, 1, nx=True, px=int(hold_seconds * 1000)))

    def look(self, age: timedelta) -> list[str]:
        """Look at every campaign; returns those that have been finished for `age` or longer, the longest first."""
        now = server_time(self._redis)
        with unavailable():
            found: Any = self._redis.zrange(self._keys.campaigns, 0, -1)
            names = [to_text(name) for name in found]
            pipeline = self._redis.pipeline(transaction=False)
            for name in names:
                pipeline.hmget(self._keys.campaign_counts(name), _UNFINISHED)
            counts: list[Any] = pipeline.execute()
            finished = {name for name, each in zip(names, counts, strict=True) if not any(map(int, filter(None, each)))}
            known: Any = self._redis.zrange(self._keys.idle, 0, -1)
            if others := {to_text(name) for name in known} - finished:
                self._redis.zrem(self._keys.idle, *others)
            if finished:
                self._redis.zadd(self._keys.idle, dict.fromkeys(finished, to_ms(now)), nx=True)
            old: Any = self._redis.zrange(self._keys.idle, "-inf", to_ms(now - age), byscore=True)
        return [to_text(name) for name in old]
